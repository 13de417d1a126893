import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { noProperties } from "./packets.ts";
import { encodeSuback, encodeSubscribe, encodeUnsuback } from "./subscribe.ts";

describe("answers to SUBSCRIBE and UNSUBSCRIBE", () => {
  const packet = { packetId: 10, reasonCodes: [0, 1, 2, 0x80, 0x87, 0x8f], properties: noProperties };

  it("a SUBACK of MQTT 5 gives the reason of each refusal (MQTT 5.0 §3.9.3)", () => {
    assert.equal(encodeSuback(5, packet).toString("hex"), "9009000a0000010280878f");
  });

  it("a SUBACK of MQTT 3 has one code for every refusal (MQTT 3.1.1 §3.9.3)", () => {
    assert.equal(encodeSuback(4, packet).toString("hex"), "9008000a000102808080");
    assert.equal(encodeSuback(3, packet).toString("hex"), "9008000a000102808080");
  });

  it("an UNSUBACK has reason codes in MQTT 5 only (MQTT 3.1.1 §3.11)", () => {
    const unsuback = { ...packet, reasonCodes: [0, 0x11] };
    assert.equal(encodeUnsuback(5, unsuback).toString("hex"), "b005000a000011");
    assert.equal(encodeUnsuback(4, unsuback).toString("hex"), "b002000a");
  });
});

describe("encoding a SUBSCRIBE", () => {
  it("leaves options and properties out in MQTT 3 (MQTT 3.1.1 §3.8.3)", () => {
    const request = {
      filter: "a",
      qos: 2,
      noLocal: true,
      retainAsPublished: true,
      retainHandling: 1,
    } as const;
    const packet = { packetId: 10, requests: [request], properties: { subscriptionIdentifiers: [1] } };
    assert.equal(encodeSubscribe(5, packet).toString("hex"), "8209000a020b010001611e");
    assert.equal(encodeSubscribe(4, packet).toString("hex"), "8206000a00016102");
  });
});
