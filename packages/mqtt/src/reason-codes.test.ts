import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { PacketType } from "./packets.ts";
import {
  connackReturnCode,
  ReasonCode,
  reasonCodeAllowed,
  reasonCodeName,
  reasonCodeOfReturnCode,
} from "./reason-codes.ts";

/** The codes each packet may carry, from the table in the packet's own section. */
const codesByPacket: readonly (readonly [clause: string, type: PacketType, codes: readonly number[]])[] = [
  [
    "§3.2.2.2",
    PacketType.connack,
    [
      0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a,
      0x9b, 0x9c, 0x9d, 0x9f,
    ],
  ],
  ["§3.4.2.1", PacketType.puback, [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]],
  ["§3.5.2.1", PacketType.pubrec, [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]],
  ["§3.6.2.1", PacketType.pubrel, [0, 0x92]],
  ["§3.7.2.1", PacketType.pubcomp, [0, 0x92]],
  ["§3.9.3", PacketType.suback, [0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]],
  ["§3.11.3", PacketType.unsuback, [0, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]],
  [
    "§2.4",
    PacketType.disconnect,
    [
      0, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96,
      0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
    ],
  ],
  ["§3.15.2.1", PacketType.auth, [0, 0x18, 0x19]],
  ["§2.4", PacketType.publish, []],
  ["§2.4", PacketType.subscribe, []],
];

describe("reason codes (MQTT 5.0 §2.4)", () => {
  for (const [clause, type, codes] of codesByPacket) {
    it(`packet type ${type} carries the codes of ${clause} and no other`, () => {
      const allowed = Array.from({ length: 300 }, (_, code) => code - 20).filter((code) =>
        reasonCodeAllowed(type, code),
      );
      assert.deepEqual(allowed, codes);
    });
  }

  it("every code has a name and a packet to carry it", () => {
    const types = Object.values(PacketType);
    for (const code of Object.values(ReasonCode)) {
      assert.doesNotMatch(reasonCodeName(code), /^0x/);
      assert.ok(types.some((type) => reasonCodeAllowed(type, code)));
    }
  });

  it("names are those of the specification; an undefined code is named by its number", () => {
    assert.equal(reasonCodeName(0x00), "Success");
    assert.equal(reasonCodeName(0x81), "Malformed Packet");
    assert.equal(reasonCodeName(0xa2), "Wildcard Subscriptions not supported");
    assert.equal(reasonCodeName(0x05), "0x05");
    assert.equal(reasonCodeName(0xff), "0xff");
  });
});

describe("return codes of an MQTT 3 CONNACK (MQTT 3.1.1 §3.2.2.3)", () => {
  it("go to reason codes and back", () => {
    for (let code = 0; code <= 5; code++)
      assert.equal(connackReturnCode(reasonCodeOfReturnCode(code) ?? -1), code);
    assert.equal(reasonCodeOfReturnCode(6), undefined);
  });
  for (const [reasonCode, returnCode] of [
    [ReasonCode.success, 0],
    [ReasonCode.unsupportedProtocolVersion, 1],
    [ReasonCode.clientIdentifierNotValid, 2],
    [ReasonCode.serverUnavailable, 3],
    [ReasonCode.serverBusy, 3],
    [ReasonCode.quotaExceeded, 3],
    [ReasonCode.unspecifiedError, 3],
    [ReasonCode.badUserNameOrPassword, 4],
    [ReasonCode.notAuthorized, 5],
    [ReasonCode.banned, 5],
    [ReasonCode.badAuthenticationMethod, 5],
  ] as const) {
    it(`${reasonCodeName(reasonCode)} is ${returnCode}`, () =>
      assert.equal(connackReturnCode(reasonCode), returnCode));
  }
  it("no refusal is told as success", () => {
    for (let code = 0x80; code < 0x100; code++) assert.notEqual(connackReturnCode(code), 0);
  });
});
