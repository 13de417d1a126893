import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { AckLine } from "./ack-line.ts";

/** A line, what it wrote, and how messages come that are taken when what is returned is called. */
function line() {
  const written: number[] = [];
  const state = { connected: true };
  const acks = new AckLine((packetId) => {
    if (state.connected) written.push(packetId);
    return state.connected;
  });
  const came = (packetId: number): (() => void) => {
    const entry = acks.add(packetId, "t", 1);
    entry.takers = 1;
    return () => {
      entry.takers = 0;
      acks.flush();
    };
  };
  return { acks, written, state, came };
}

describe("the line of acknowledgements", () => {
  it("is in the order in which messages came (MQTT 5.0 §4.6)", () => {
    const { acks, written, came } = line();
    const [first, second, third] = [came(1), came(2), came(3)];
    second();
    assert.deepEqual(written, []);
    first();
    assert.deepEqual(written, [1, 2]);
    third();
    assert.deepEqual(written, [1, 2, 3]);
    assert.equal(acks.length, 0);
  });

  it("knows a message that comes again over a new connection, taken or not", () => {
    const { acks, written, state, came } = line();
    const [first] = [came(1), came(2)];
    state.connected = false;
    first();
    state.connected = true;
    acks.onSession(true);
    assert.equal(acks.again(1, "t", 1), true);
    assert.deepEqual(written, [1], "what was taken while there was no connection is acknowledged now");
    assert.equal(acks.again(2, "t", 1), true);
    assert.deepEqual(written, [1]);
    assert.equal(acks.again(3, "t", 1), false, "another message");
  });

  it("forgets what a server does not know any more, and tells a packet identifier that is used for another message", () => {
    const { acks, written, came } = line();
    const first = came(1);
    acks.onSession(false);
    assert.equal(acks.again(1, "t", 1), false);
    first();
    assert.deepEqual(written, []);
    came(1);
    acks.onSession(true);
    assert.equal(acks.again(1, "other", 1), false);
  });
});
