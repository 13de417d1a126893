import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { TransportHandler } from "../transport.ts";
import { Batch } from "./batch.ts";
import { RemoteConnection } from "./remote-connection.ts";

/** A connection that another thread carries, and what happened to it. */
function carried(): { readonly connection: RemoteConnection; readonly happened: string[] } {
  const batch = new Batch();
  const happened: string[] = [];
  const link = { batch: () => batch, heardAll: () => Promise.resolve(), forget() {} };
  const connection = new RemoteConnection(link, 1, 0, { address: "192.0.2.1", port: 1_883 });
  const handler: TransportHandler = {
    awaitsConnect: false,
    packetBytesMax: 1_000,
    onData: (bytes) => void happened.push(`data ${bytes.toString()}`),
    onGathered() {},
    onEnd() {},
    onClose: () => void happened.push("closed"),
  };
  connection.attach(handler);
  return { connection, happened };
}

describe("a connection that another thread carries", () => {
  it("lets go of all that was being written when it is closed, each piece once", () => {
    const { connection, happened } = carried();
    for (const name of ["first", "second", "third"])
      connection.write(Buffer.from(name), () => void happened.push(name));
    connection.written(1);
    connection.closed();
    assert.deepEqual(happened, ["first", "closed", "second", "third"]);
    connection.written(2);
    assert.equal(happened.length, 4);
  });

  it("does so at once where its client's last words wait to be heard", () => {
    const { connection, happened } = carried();
    connection.write(Buffer.from("first"), () => void happened.push("first"));
    connection.pause();
    connection.data(Buffer.from("bye"));
    connection.closed();
    assert.deepEqual(happened, ["first"]);
    connection.resume();
    assert.deepEqual(happened, ["first", "data bye", "closed"]);
  });
});
