import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { ackBytes, type AckType, decodeAck, encodeAck, successAckPacketId, writeAck } from "./acks.ts";
import { noProperties, PacketType } from "./packets.ts";

const types: readonly (readonly [type: AckType, first: string])[] = [
  [PacketType.puback, "40"],
  [PacketType.pubrec, "50"],
  [PacketType.pubrel, "62"],
  [PacketType.pubcomp, "70"],
];

describe("acknowledgements (MQTT 5.0 §3.4 to §3.7)", () => {
  for (const [type, first] of types) {
    it(`success is four bytes in every version, packet type ${type}`, () => {
      const target = Buffer.alloc(8, 0xee);
      assert.equal(writeAck(target, 2, type, 0xabcd), 2 + ackBytes);
      assert.equal(target.toString("hex"), `eeee${first}02abcdeeee`);
      for (const version of [3, 4, 5] as const) {
        const packet = { packetId: 0xabcd, reasonCode: 0, properties: noProperties };
        assert.equal(encodeAck(version, type, packet).toString("hex"), `${first}02abcd`);
      }
    });

    it(`a reason code alone is five bytes, and left out in MQTT 3, packet type ${type}`, () => {
      const packet = { packetId: 1, reasonCode: 0x92, properties: noProperties };
      assert.equal(encodeAck(5, type, packet).toString("hex"), `${first}03000192`);
      assert.equal(encodeAck(4, type, packet).toString("hex"), `${first}020001`);
    });
  }

  it("success with a reason string has its reason code spelled out", () => {
    const packet = { packetId: 1, reasonCode: 0, properties: { reasonString: "r" } };
    const bytes = encodeAck(5, PacketType.puback, packet);
    assert.equal(bytes.toString("hex"), "4008000100041f000172");
    assert.deepEqual(decodeAck(bytes, 2, bytes.length, PacketType.puback, 5), {
      kind: "value",
      value: packet,
    });
  });

  it("the short form gives its packet identifier without an object; the others are for decodeAck", () => {
    assert.equal(successAckPacketId(Buffer.from("4002abcd", "hex"), 2, 4), 0xabcd);
    assert.equal(successAckPacketId(Buffer.from("40020000", "hex"), 2, 4), 0);
    assert.equal(successAckPacketId(Buffer.from("4003000110", "hex"), 2, 5), 0);
    assert.equal(successAckPacketId(Buffer.from("400101", "hex"), 2, 3), 0);
  });

  it("throws RangeError for a packet identifier that does not fit", () => {
    const packet = { packetId: 65_536, reasonCode: 0, properties: noProperties };
    assert.throws(() => encodeAck(5, PacketType.puback, packet), RangeError);
  });
});
