import assert from "node:assert/strict";
import { Socket } from "node:net";
import { describe, it } from "node:test";

import { limitsSchema } from "../limits.ts";
import { Batch, FromCarrier, readBatch } from "./batch.ts";
import { CarriedConnection } from "./carried-connection.ts";

/** A connection whose transport does each write when it is told to. */
function stage(later: (connection: CarriedConnection, batch: Batch) => void) {
  const batch = new Batch();
  const writes: (() => void)[] = [];
  const socket = new Socket();
  const connection = new CarriedConnection(
    {
      link: {
        batch: () => batch,
        data() {},
        later: (reporting) => later(reporting, batch),
        forget() {},
      },
      socket,
      gate: { name: "test", limits: limitsSchema.parse({}), countsLoopback: false, start() {} },
      gathers: false,
    },
    1,
    1,
  );
  connection.ready(
    {
      write: (_bytes, done) => void writes.push(done),
      writeAll: (_pieces, done) => void writes.push(done),
      pause() {},
      resume() {},
      end() {},
    },
    {
      listener: "test",
      anonymousAllowed: true,
      confidential: true,
      address: "",
      port: 0,
      certificate: undefined,
      certificateError: undefined,
    },
  );
  const told = (): number => {
    let written = 0;
    readBatch(batch.take(), (kind, _number, value) => {
      if (kind === FromCarrier.written) written += value;
    });
    return written;
  };
  return { connection, batch, writes, told, socket };
}

describe("a connection in another thread than the first", () => {
  it("tells of every write, also when what it adds to is handed over at that moment", () => {
    const { connection, writes, told, socket } = stage((reporting, batch) => reporting.report(batch));
    const large = Buffer.alloc(40_000);
    let all = 0;
    for (let round = 0; round < 3; round += 1) {
      for (let count = 0; count < 4; count += 1) connection.write(large);
      for (const done of writes.splice(0)) done();
      all += told();
    }
    assert.equal(all, 12);
    socket.destroy();
  });

  it("counts several pieces that belong together as one write", () => {
    const { connection, batch, writes, told, socket } = stage(() => {});
    connection.gather(3);
    for (let piece = 0; piece < 3; piece += 1) connection.write(Buffer.alloc(10));
    connection.write(Buffer.alloc(10));
    assert.equal(writes.length, 2);
    for (const done of writes.splice(0)) done();
    connection.report(batch);
    assert.equal(told(), 2);
    socket.destroy();
  });
});
