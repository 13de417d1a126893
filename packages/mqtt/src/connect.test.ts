import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { decodeConnect, encodeConnect } from "./connect.ts";
import { type ConnectPacket, noProperties } from "./packets.ts";

const packet: ConnectPacket = {
  protocolVersion: 5,
  cleanStart: true,
  keepAliveSeconds: 60,
  clientId: "a",
  username: undefined,
  password: Uint8Array.of(1, 2, 3),
  will: { topic: "w", payload: Uint8Array.of(4, 5), qos: 0, retain: false, properties: noProperties },
  properties: noProperties,
};

describe("CONNECT (MQTT 5.0 §3.1)", () => {
  it("gives password and will payload as copies, which outlive the receive buffer", () => {
    const bytes = encodeConnect(packet);
    const decoded = decodeConnect(bytes, 2, bytes.length);
    bytes.fill(0);
    assert.equal(decoded.kind, "value");
    assert.deepEqual(decoded.value, packet);
    assert.equal(decoded.value.password?.buffer.byteLength, 3);
  });

  it("cannot carry a password without a user name before MQTT 5 [MQTT-3.1.2-22]", () => {
    for (const protocolVersion of [3, 4] as const) {
      assert.throws(() => encodeConnect({ ...packet, protocolVersion }), TypeError);
    }
  });

  it("cannot carry what is longer than its length can tell", () => {
    assert.throws(() => encodeConnect({ ...packet, password: new Uint8Array(65_536) }), RangeError);
    assert.throws(() => encodeConnect({ ...packet, clientId: "a".repeat(65_536) }), RangeError);
    assert.throws(() => encodeConnect({ ...packet, keepAliveSeconds: 65_536 }), RangeError);
  });

  it("cannot carry texts that MQTT forbids [MQTT-1.5.4-1] [MQTT-1.5.4-2]", () => {
    for (const clientId of ["a\0", "\ud800", "\udc00a"]) {
      assert.throws(() => encodeConnect({ ...packet, clientId }), TypeError);
    }
  });
});
