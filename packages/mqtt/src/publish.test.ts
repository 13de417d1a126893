import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { createFrame, FrameResult, readFrame } from "./frame.ts";
import { noProperties, type ProtocolVersion } from "./packets.ts";
import {
  checkClientPublish,
  createPublishView,
  decodeForwardedProperties,
  decodePublish,
  decodeTopicName,
  encodeForwardedProperties,
  encodePublish,
  publishBytes,
  type PublishFields,
  topicNameProblem,
  writeMessageExpiry,
  writePublish,
  writeSubscriptionIdentifiers,
  writeTopicAlias,
} from "./publish.ts";

function fields(changes: Partial<PublishFields> = {}): PublishFields {
  return {
    version: 4,
    topic: Buffer.from("a/b"),
    payload: Buffer.from("hi"),
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
    properties: new Uint8Array(0),
    ...changes,
  };
}

function hexOf(changes: Partial<PublishFields>): string {
  return encodePublish(fields(changes)).bytes.toString("hex");
}

describe("encoding a PUBLISH (MQTT 5.0 §3.3)", () => {
  it("the example of the specification: topic a/b, packet identifier 10 (MQTT 3.1.1 §3.3.2)", () => {
    assert.equal(hexOf({ qos: 1, packetId: 10, payload: new Uint8Array(0) }), "32070003612f62000a");
  });

  it("has DUP, QoS and RETAIN in its first byte", () => {
    assert.equal(hexOf({ qos: 2, packetId: 1, dup: true, retain: true }).slice(0, 2), "3d");
    assert.equal(hexOf({ retain: true }).slice(0, 2), "31");
  });

  it("has a property length in MQTT 5 only, and properties there only", () => {
    const properties = Uint8Array.of(1, 1);
    assert.equal(hexOf({ properties }), "30070003612f626869");
    assert.equal(hexOf({ version: 3, properties }), "30070003612f626869");
    assert.equal(hexOf({ version: 5 }), "30080003612f62006869");
    assert.equal(hexOf({ version: 5, properties }), "300a0003612f620201016869");
  });

  it("says where the packet identifier is, for it to be patched", () => {
    for (const payloadBytes of [0, 100, 200, 20_000]) {
      const payload = new Uint8Array(payloadBytes).fill(0x2e);
      const patched = encodePublish(fields({ version: 5, qos: 1, packetId: 1, payload }));
      patched.bytes.writeUInt16BE(0xabcd, patched.packetIdOffset);
      assert.deepEqual(
        patched.bytes,
        encodePublish(fields({ version: 5, qos: 1, packetId: 0xabcd, payload })).bytes,
      );
    }
    assert.equal(encodePublish(fields()).packetIdOffset, 0);
  });

  it("writes into a given buffer exactly what it announces, and nothing beside it", () => {
    const sizes = [0, 1, 63, 120, 121, 122, 123, 124, 16_370, 16_377, 16_380, 16_384, 70_000];
    for (const version of [3, 4, 5] as const) {
      for (const size of sizes) {
        const given = fields({ version, qos: 2, packetId: 7, payload: new Uint8Array(size).fill(1) });
        const target = Buffer.alloc(publishBytes(given) + 10, 0xee);
        const end = writePublish(target, 5, given);
        assert.equal(end, 5 + publishBytes(given));
        assert.deepEqual(target.subarray(5, end), encodePublish(given).bytes);
        assert.equal(target.toString("hex", 0, 5) + target.toString("hex", end), "ee".repeat(10));
      }
    }
  });

  it("throws RangeError for a topic or a packet that does not fit", () => {
    assert.throws(() => publishBytes(fields({ topic: new Uint8Array(65_536) })), RangeError);
    const payload = new Uint8Array(268_435_451);
    assert.throws(() => publishBytes(fields({ payload })), RangeError);
    assert.equal(publishBytes(fields({ payload: payload.subarray(1) })), 268_435_460);
  });
});

function decode(hex: string, version: ProtocolVersion) {
  const bytes = Buffer.from(hex, "hex");
  const frame = createFrame();
  assert.equal(readFrame(bytes, 0, bytes.length, bytes.length, frame), FrameResult.complete);
  const view = createPublishView();
  return { wrong: decodePublish(bytes, frame, version, view), view, bytes };
}

describe("decoding a PUBLISH (MQTT 5.0 §3.3)", () => {
  it("gives offsets, not copies", () => {
    const { wrong, view } = decode("3d0d0003612f62000a020101686921", 5);
    assert.equal(wrong, undefined);
    assert.deepEqual(view, {
      dup: true,
      qos: 2,
      retain: true,
      topicStart: 4,
      topicEnd: 7,
      packetId: 10,
      properties: { payloadFormatIndicator: 1 },
      payloadStart: 12,
      payloadEnd: 15,
    });
  });

  it("shares one object for no properties", () => {
    assert.equal(decode("30080003612f62006869", 5).view.properties, noProperties);
    assert.equal(decode("30070003612f626869", 4).view.properties, noProperties);
  });

  it("forgets what an earlier packet left in the view", () => {
    const view = { ...createPublishView(), dup: true, packetId: 9, properties: { topicAlias: 3 } };
    const bytes = Buffer.from("3003000161", "hex");
    const frame = createFrame();
    readFrame(bytes, 0, bytes.length, 100, frame);
    assert.equal(decodePublish(bytes, frame, 4, view), undefined);
    assert.deepEqual(view, {
      ...createPublishView(),
      topicStart: 4,
      topicEnd: 5,
      payloadStart: 5,
      payloadEnd: 5,
    });
  });

  it("leaves a Subscription Identifier to the check that a server makes [MQTT-3.3.4-6]", () => {
    const fromServer = decode("3006000161020b05", 5);
    assert.equal(fromServer.wrong, undefined);
    assert.equal(checkClientPublish(fromServer.view)?.reasonCode, 0x82);
    assert.equal(checkClientPublish(decode("300400016100", 5).view), undefined);
  });

  it("does not look at the topic's bytes: the receiver does, once for each topic", () => {
    assert.equal(decode("3003000123", 4).wrong, undefined);
  });
});

describe("topic names in a PUBLISH (MQTT 5.0 §3.3.2.1)", () => {
  const cases: readonly (readonly [
    what: string,
    hex: string,
    text: string | undefined,
    reasonCode: number,
  ])[] = [
    ["ASCII", "612f62", "a/b", 0],
    ["UTF-8", "c3a42fe282ac", "ä/€", 0],
    ["nothing", "", undefined, 0x82],
    ["a plus sign", "612f2b", undefined, 0x90],
    ["a number sign", "23", undefined, 0x90],
    ["a wildcard among UTF-8", "c3a423", undefined, 0x90],
    ["U+0000", "6100", undefined, 0x81],
    ["a cut character", "61e282", undefined, 0x81],
    ["a wildcard beside a cut character", "23e282", undefined, 0x81],
  ];
  for (const [what, hex, text, reasonCode] of cases) {
    it(`${what}: ${text === undefined ? `refused with ${reasonCode}` : "taken"}`, () => {
      const bytes = Buffer.from(`2b${hex}23`, "hex");
      const end = bytes.length - 1;
      assert.equal(decodeTopicName(bytes, 1, end), text);
      if (text === undefined) assert.equal(topicNameProblem(bytes, 1, end).reasonCode, reasonCode);
    });
  }
});

describe("properties that a server forwards (MQTT 5.0 §3.3.2.3)", () => {
  const forwarded = {
    payloadFormatIndicator: 1,
    contentType: "text/plain",
    responseTopic: "answers/7",
    correlationData: Uint8Array.of(1, 2, 3),
    userProperties: [
      ["z", "1"],
      ["a", "2"],
      ["z", "1"],
    ],
  } as const;

  it("come back as they were, user properties in their order [MQTT-3.3.2-18]", () => {
    assert.deepEqual(decodeForwardedProperties(encodeForwardedProperties(forwarded)), forwarded);
  });

  it("are without alias, expiry and subscription identifiers", () => {
    const hop = { topicAlias: 1, messageExpiryInterval: 2, subscriptionIdentifiers: [3] };
    assert.deepEqual(
      encodeForwardedProperties({ ...hop, ...forwarded }),
      encodeForwardedProperties(forwarded),
    );
    assert.equal(encodeForwardedProperties(hop).length, 0);
  });

  it("are one shared empty array when there are none", () => {
    assert.equal(encodeForwardedProperties(noProperties), encodeForwardedProperties({ topicAlias: 1 }));
    assert.equal(decodeForwardedProperties(encodeForwardedProperties({})), noProperties);
  });

  it("own their bytes", () => {
    const encoded = encodeForwardedProperties({ contentType: "a" });
    assert.equal(encoded.buffer.byteLength, encoded.length);
  });

  it("a store that gives other bytes back is caught", () => {
    assert.throws(() => decodeForwardedProperties(Uint8Array.of(1)), { name: "AssertionError" });
  });

  it("stand together with those of this hop in one PUBLISH", () => {
    const hop = fc.record({
      expiry: fc.integer({ min: 0, max: 0xff_ff_ff_ff }),
      alias: fc.integer({ min: 1, max: 65_535 }),
      identifiers: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength: 4 }),
    });
    fc.assert(
      fc.property(hop, ({ expiry, alias, identifiers }) => {
        const properties = Buffer.concat([
          encodeForwardedProperties(forwarded),
          writeMessageExpiry(expiry),
          writeTopicAlias(alias),
          writeSubscriptionIdentifiers(identifiers),
        ]);
        const { wrong, view } = decode(hexOf({ version: 5, topic: new Uint8Array(0), properties }), 5);
        assert.equal(wrong, undefined);
        assert.deepEqual(view.properties, {
          ...forwarded,
          messageExpiryInterval: expiry,
          topicAlias: alias,
          subscriptionIdentifiers: identifiers,
        });
      }),
    );
  });
});
