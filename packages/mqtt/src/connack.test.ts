import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { encodeConnack } from "./connack.ts";
import { noProperties, type ProtocolVersion } from "./packets.ts";
import { ReasonCode } from "./reason-codes.ts";

function hexOf(version: ProtocolVersion, sessionPresent: boolean, reasonCode: number): string {
  return encodeConnack(version, { sessionPresent, reasonCode, properties: noProperties }).toString("hex");
}

describe("encoding a CONNACK", () => {
  it("has a property length in MQTT 5 only", () => {
    assert.equal(hexOf(5, false, ReasonCode.success), "2003000000");
    assert.equal(hexOf(4, false, ReasonCode.success), "20020000");
  });

  it("tells MQTT 3 a return code instead of the reason code (MQTT 3.1.1 §3.2.2.3)", () => {
    assert.equal(hexOf(5, false, ReasonCode.notAuthorized), "2003008700");
    assert.equal(hexOf(4, false, ReasonCode.notAuthorized), "20020005");
    assert.equal(hexOf(3, false, ReasonCode.badUserNameOrPassword), "20020004");
  });

  it("says that a session is present from MQTT 3.1.1 on, and only when it accepts [MQTT-3.2.2-6]", () => {
    assert.equal(hexOf(5, true, ReasonCode.success), "2003010000");
    assert.equal(hexOf(4, true, ReasonCode.success), "20020100");
    assert.equal(hexOf(3, true, ReasonCode.success), "20020000");
    assert.equal(hexOf(5, true, ReasonCode.serverBusy), "2003008900");
    assert.equal(hexOf(4, true, ReasonCode.serverBusy), "20020003");
  });

  it("leaves properties out in MQTT 3", () => {
    const packet = { sessionPresent: false, reasonCode: 0, properties: { serverKeepAlive: 60 } };
    assert.equal(encodeConnack(4, packet).toString("hex"), "20020000");
    assert.equal(encodeConnack(5, packet).toString("hex"), "200600000313003c");
  });
});
