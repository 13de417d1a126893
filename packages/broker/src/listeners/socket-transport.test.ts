import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";

import { socketPair } from "../testing/socket-pair.ts";
import type { TransportHandler } from "../transport.ts";
import { SocketTransport } from "./socket-transport.ts";

/** A handler that only tells of the end. */
function handlerThat(onClose: () => void): TransportHandler {
  return {
    awaitsConnect: false,
    packetBytesMax: 0,
    onData() {},
    onGathered() {},
    onEnd() {},
    onClose,
  };
}

function attached(transport: SocketTransport): Promise<void> {
  return new Promise((resolve) => transport.attach(handlerThat(resolve)));
}

describe("SocketTransport", () => {
  it("closes at once when the peer has taken its leave, also when that keeps its own half open", async () => {
    using stack = new DisposableStack();
    const { ours, theirs } = await socketPair(stack);
    const transport = new SocketTransport(ours);
    const closed = attached(transport);
    transport.write(Buffer.from("the last answer"), () => {});
    transport.end(0);
    assert.ok(ours.destroyed);
    await closed;
    const read: Buffer[] = [];
    theirs.on("data", (bytes: Buffer) => read.push(bytes));
    await once(theirs, "end");
    assert.equal(Buffer.concat(read).toString(), "the last answer");
  });

  it("sends what does not fit into the socket yet before it closes", async () => {
    using stack = new DisposableStack();
    const { ours, theirs } = await socketPair(stack);
    const transport = new SocketTransport(ours);
    const closed = attached(transport);
    const bytes = Buffer.alloc(16_777_216, 1);
    transport.write(bytes, () => {});
    transport.end(0);
    assert.ok(!ours.destroyed);
    let count = 0;
    theirs.on("data", (chunk: Buffer) => {
      count += chunk.length;
    });
    await once(theirs, "end");
    assert.equal(count, bytes.length);
    theirs.end();
    await closed;
  });

  it("gives a peer that has not taken its leave time to read, and then cuts it", async () => {
    using stack = new DisposableStack();
    const { ours, theirs } = await socketPair(stack);
    const transport = new SocketTransport(ours);
    const closed = attached(transport);
    transport.end(50);
    assert.ok(!ours.destroyed);
    theirs.resume();
    await closed;
    assert.ok(ours.destroyed);
  });
});
