import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { decodeAuth, encodeAuth, encodeDisconnect, pingreqBytes, pingrespBytes } from "./control.ts";
import { noProperties } from "./packets.ts";

describe("packets that are little more than their type", () => {
  it("PINGREQ and PINGRESP are two bytes (MQTT 5.0 §3.12, §3.13)", () => {
    assert.equal(pingreqBytes.toString("hex"), "c000");
    assert.equal(pingrespBytes.toString("hex"), "d000");
  });

  it("DISCONNECT takes its shortest form (MQTT 5.0 §3.14.2.1)", () => {
    assert.equal(encodeDisconnect(5, { reasonCode: 0, properties: noProperties }).toString("hex"), "e000");
    assert.equal(
      encodeDisconnect(5, { reasonCode: 0x8b, properties: noProperties }).toString("hex"),
      "e0018b",
    );
    const withReason = { reasonCode: 0, properties: { reasonString: "r" } };
    assert.equal(encodeDisconnect(5, withReason).toString("hex"), "e00600041f000172");
  });

  it("DISCONNECT has no body in MQTT 3 (MQTT 3.1.1 §3.14)", () => {
    const packet = { reasonCode: 0x8b, properties: { reasonString: "r" } };
    assert.equal(encodeDisconnect(4, packet).toString("hex"), "e000");
  });

  it("AUTH is for MQTT 5 only (MQTT 3.1.1 §2.2.1)", () => {
    const packet = { reasonCode: 0x18, properties: { authenticationMethod: "m" } };
    assert.equal(encodeAuth(5, packet).toString("hex"), "f00618041500016d");
    assert.throws(() => encodeAuth(4, packet), TypeError);
    const decoded = decodeAuth(Buffer.alloc(0), 0, 0, 4);
    assert.equal(decoded.kind === "malformed" ? decoded.reasonCode : 0, 0x81);
  });
});
