import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { decodeConnect } from "../src/connect.ts";
import { createFrame, fixedHeaderFlagsValid, FrameResult, readFrame } from "../src/frame.ts";
import { PacketType, type ProtocolVersion } from "../src/packets.ts";
import { checkClientPublish, createPublishView, decodePublish } from "../src/publish.ts";
import { reasonCodeName } from "../src/reason-codes.ts";
import { hostilePackets } from "./hostile-packets.ts";
import { notation, packetOf } from "./notation.ts";
import { decodePacket } from "./packet-codecs.ts";

/** What a server that checks everything says to this packet: the reason code, or 0 when nothing is wrong. */
function judge(bytes: Buffer, version: ProtocolVersion): number {
  const frame = createFrame();
  const result = readFrame(bytes, 0, bytes.length, bytes.length, frame, version);
  assert.equal(result, FrameResult.complete);
  if (!fixedHeaderFlagsValid(frame.type, frame.flags, version)) return 0x81;
  const decoded = decodePacket(bytes, frame, version);
  if (decoded.kind === "malformed") return decoded.reasonCode;
  if (frame.type !== PacketType.publish) return 0;
  const view = createPublishView();
  return (decodePublish(bytes, frame, version, view) ?? checkClientPublish(view))?.reasonCode ?? 0;
}

describe("a packet against the protocol is refused with the reason code of its clause", () => {
  for (const [what, version, first, body, reasonCode] of hostilePackets) {
    it(`${what}, version ${version}: ${reasonCodeName(reasonCode)}`, () => {
      assert.equal(judge(packetOf(first, body), version), reasonCode);
    });
  }

  it("no two rows of the table are the same packet", () => {
    const packets = hostilePackets.map(([, version, first, body]) => `${version} ${first} ${body}`);
    assert.equal(new Set(packets).size, hostilePackets.length);
  });
});

/** Packets that look wrong and are lawful: version, first byte, body. */
const lawfulOddities: readonly (readonly [string, ProtocolVersion, number, string])[] = [
  ["CONNECT with a password alone (MQTT 5.0 §3.1.2.9)", 5, 0x10, '"MQTT" 05 42 003c 00 "a" "p"'],
  ["CONNECT with a session and no client id (MQTT 5.0 §3.1.3.1)", 5, 0x10, '"MQTT" 05 00 003c 00 ""'],
  [
    "CONNECT of MQTT 3.1 without the user name it announces (MQTT 3.1 §3.1)",
    3,
    0x10,
    '"MQIsdp" 03 c2 003c "a"',
  ],
  [
    "CONNECT of MQTT 3.1 without the password it announces (MQTT 3.1 §3.1)",
    3,
    0x10,
    '"MQIsdp" 03 c2 003c "a" "u"',
  ],
  ["CONNECT of MQTT 3.1 with an unused flag (MQTT 3.1 §3.1)", 3, 0x10, '"MQIsdp" 03 03 003c "a"'],
  ["CONNECT of MQTT 3.1 with will QoS and no will (MQTT 3.1 §3.1)", 3, 0x10, '"MQIsdp" 03 1a 003c "a"'],
  [
    "CONNECT of MQTT 3.1 with 30 characters of client id",
    3,
    0x10,
    '"MQIsdp" 03 02 003c "abcdefghijklmnopqrstuvwxyz0123"',
  ],
  [
    "CONNECT with U+FEFF at the start of its client id [MQTT-1.5.4-3]",
    5,
    0x10,
    '"MQTT" 05 02 003c 00 0004 efbbbf61',
  ],
  ["CONNECT with a control character in its client id (§1.5.4)", 4, 0x10, '"MQTT" 04 02 003c 0001 01'],
  ["CONNECT with an empty will payload", 4, 0x10, '"MQTT" 04 06 003c "a" "w" ""'],
  ["PUBLISH with a topic alias alone (§3.3.2.3.4)", 5, 0x30, '"" 03 23 0001'],
  ["PUBLISH without a payload (§3.3.3)", 4, 0x30, '"a"'],
  ["PUBLISH with DUP, QoS 2 and RETAIN", 4, 0x3d, '"a" ffff'],
  ["PUBACK with a reason code and no property length (§3.4.2.2.1)", 5, 0x40, "0001 10"],
  ["PUBREL with DUP in MQTT 3.1 (MQTT 3.1 §3.6)", 3, 0x6a, "0001"],
  ["SUBSCRIBE with DUP in MQTT 3.1 (MQTT 3.1 §3.8)", 3, 0x8a, '0001 "a" 01'],
  ["SUBSCRIBE with unused option bits in MQTT 3.1 (MQTT 3.1 §3.8)", 3, 0x82, '0001 "a" f1'],
  [
    "SUBSCRIBE with a filter that is none, for the server to answer",
    5,
    0x82,
    '0001 00 "sensors/#/temperature" 00',
  ],
  ["SUBSCRIBE with an empty filter, for the server to answer", 4, 0x82, '0001 "" 00'],
  ["SUBSCRIBE with No Local on a filter that only looks shared", 5, 0x82, '0001 00 "$shared/a" 04'],
  ["DISCONNECT with a reason code alone (§3.14.2.2.1)", 5, 0xe0, "04"],
  ["DISCONNECT without a body (§3.14.2.1)", 5, 0xe0, ""],
  ["AUTH without a body (§3.15.2.1)", 5, 0xf0, ""],
];

describe("a lawful oddity is let through", () => {
  for (const [what, version, first, body] of lawfulOddities) {
    it(what, () => assert.equal(judge(packetOf(first, body), version), 0));
  }
});

describe("a CONNECT that is refused tells what is known of its protocol", () => {
  const cases = [
    ["another name", '"HTTP" 05 02 003c 00 "a"', undefined, undefined],
    ["an end within the name", "0004 4d51", undefined, undefined],
    ["an end before the level", '"MQTT"', undefined, undefined],
    ["level 6", '"MQTT" 06 02 003c 00 "a"', undefined, 6],
    ["a bridge of MQTT 3.1.1", '"MQTT" 84 02 003c "a"', undefined, 0x84],
    ["a reserved flag in MQTT 3.1.1", '"MQTT" 04 03 003c "a"', 4, 4],
    ["an end after the level in MQTT 5", '"MQTT" 05', 5, 5],
    ["left-over bytes in MQTT 3.1", '"MQIsdp" 03 02 003c "a" 00', 3, 3],
  ] as const;
  for (const [what, body, protocolVersion, requestedLevel] of cases) {
    it(what, () => {
      const bytes = notation(body);
      const decoded = decodeConnect(bytes, 0, bytes.length);
      assert.equal(decoded.kind, "malformed");
      assert.deepEqual([decoded.protocolVersion, decoded.requestedLevel], [protocolVersion, requestedLevel]);
    });
  }
});
