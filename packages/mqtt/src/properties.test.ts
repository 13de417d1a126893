import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { PacketType, type Properties } from "./packets.ts";
import { decodeProperties, encodePropertyList } from "./properties.ts";
import { propertyAllowed, type PropertyPlace, propertyRow, propertyTable } from "./property-table.ts";

const { connect, connack, publish, puback, pubrec, pubrel, pubcomp } = PacketType;
const { subscribe, suback, unsubscribe, unsuback, disconnect, auth } = PacketType;
const everyPlace: readonly PropertyPlace[] = [...Object.values(PacketType), "will"];

/** Table 2-4 of MQTT 5.0 §2.2.2.2 turned around: for each place the identifiers that may stand there. */
const identifiersByPlace: readonly (readonly [place: PropertyPlace, identifiers: readonly number[]])[] = [
  [connect, [17, 21, 22, 23, 25, 33, 34, 38, 39]],
  ["will", [1, 2, 3, 8, 9, 24, 38]],
  [connack, [17, 18, 19, 21, 22, 26, 28, 31, 33, 34, 36, 37, 38, 39, 40, 41, 42]],
  [publish, [1, 2, 3, 8, 9, 11, 35, 38]],
  [puback, [31, 38]],
  [pubrec, [31, 38]],
  [pubrel, [31, 38]],
  [pubcomp, [31, 38]],
  [subscribe, [11, 38]],
  [suback, [31, 38]],
  [unsubscribe, [38]],
  [unsuback, [31, 38]],
  [disconnect, [17, 28, 31, 38]],
  [auth, [21, 22, 31, 38]],
  [PacketType.pingreq, []],
  [PacketType.pingresp, []],
];

/** One property of each kind: value and wire form, from the property's own section. */
const vectors: readonly (readonly [place: PropertyPlace, properties: Properties, hex: string])[] = [
  [publish, { payloadFormatIndicator: 1 }, "0101"],
  [publish, { messageExpiryInterval: 4_294_967_295 }, "02ffffffff"],
  [publish, { contentType: "a/b" }, "030003612f62"],
  [publish, { responseTopic: "r" }, "08000172"],
  [publish, { correlationData: Uint8Array.of(0, 255) }, "09000200ff"],
  [publish, { subscriptionIdentifiers: [1, 268_435_455, 1] }, "0b010bffffff7f0b01"],
  [connect, { sessionExpiryInterval: 0 }, "1100000000"],
  [connack, { assignedClientIdentifier: "x" }, "12000178"],
  [connack, { serverKeepAlive: 0 }, "130000"],
  [auth, { authenticationMethod: "m", authenticationData: new Uint8Array(0) }, "1500016d160000"],
  [connect, { requestProblemInformation: 0, requestResponseInformation: 1 }, "17001901"],
  ["will", { willDelayInterval: 258 }, "1800000102"],
  [connack, { responseInformation: "" }, "1a0000"],
  [disconnect, { serverReference: "s" }, "1c000173"],
  [suback, { reasonString: "ä" }, "1f0002c3a4"],
  [connack, { receiveMaximum: 1, topicAliasMaximum: 0 }, "210001220000"],
  [publish, { topicAlias: 65_535 }, "23ffff"],
  [connack, { maximumQoS: 1, retainAvailable: 0 }, "24012500"],
  [
    unsubscribe,
    {
      userProperties: [
        ["b", "1"],
        ["a", "2"],
        ["b", "1"],
      ],
    },
    "260001620001312600016100013226000162000131",
  ],
  [connect, { maximumPacketSize: 1 }, "2700000001"],
  [
    connack,
    { wildcardSubscriptionAvailable: 0, subscriptionIdentifierAvailable: 1, sharedSubscriptionAvailable: 0 },
    "280029012a00",
  ],
];

describe("the property table (MQTT 5.0 §2.2.2.2)", () => {
  it("has 27 properties", () => assert.equal(propertyTable.length, 27));

  for (const [place, identifiers] of identifiersByPlace) {
    it(`place ${place} has the properties of Table 2-4`, () => {
      const allowed = propertyTable.filter((row) => propertyAllowed(row, place)).map((row) => row.id);
      assert.deepEqual(allowed, identifiers);
    });
  }

  it("knows no identifier beside these", () => {
    const known = new Set(propertyTable.map((row) => row.id));
    for (let id = 0; id < 300; id++) assert.equal(propertyRow(id) !== undefined, known.has(id));
  });
});

describe("decoding and encoding properties (MQTT 5.0 §2.2.2)", () => {
  for (const [place, properties, hex] of vectors) {
    it(`${hex} is ${Object.keys(properties).join(" and ")}`, () => {
      assert.equal(encodePropertyList(properties, place).toString("hex"), hex);
      const list = Buffer.from(hex, "hex");
      const bytes = Buffer.concat([Buffer.of(0xee, list.length), list, Buffer.of(0xee)]);
      assert.deepEqual(decodeProperties(bytes, 1, bytes.length, place), {
        kind: "value",
        value: { properties, end: bytes.length - 1 },
      });
    });

    it(`${hex} is malformed in every place but its own`, () => {
      const list = Buffer.from(hex, "hex");
      const bytes = Buffer.concat([Buffer.of(list.length), list]);
      const ids = Object.keys(properties).map((name) => propertyTable.find((row) => row.name === name));
      for (const elsewhere of everyPlace) {
        if (ids.every((row) => row !== undefined && propertyAllowed(row, elsewhere))) continue;
        const decoded = decodeProperties(bytes, 0, bytes.length, elsewhere);
        assert.equal(decoded.kind === "malformed" ? decoded.reasonCode : 0, 0x81);
        assert.throws(() => encodePropertyList(properties, elsewhere), TypeError);
      }
    });
  }

  it("takes properties in any order", () => {
    const bytes = Buffer.from("0523ffff0101", "hex");
    assert.deepEqual(decodeProperties(bytes, 0, bytes.length, publish), {
      kind: "value",
      value: { properties: { payloadFormatIndicator: 1, topicAlias: 65_535 }, end: 6 },
    });
  });

  it("refuses each property but two when it comes twice", () => {
    for (const [place, properties, hex] of vectors) {
      if (Object.keys(properties).length > 1) continue;
      const list = Buffer.from(hex + hex, "hex");
      const decoded = decodeProperties(
        Buffer.concat([Buffer.of(list.length), list]),
        0,
        list.length + 1,
        place,
      );
      const mayRepeat = "userProperties" in properties || "subscriptionIdentifiers" in properties;
      assert.equal(decoded.kind === "malformed" ? decoded.reasonCode : 0, mayRepeat ? 0 : 0x82);
    }
  });

  it("copies binary data out of the buffer", () => {
    const bytes = Buffer.from("0409000161", "hex");
    const decoded = decodeProperties(bytes, 0, bytes.length, publish);
    bytes.fill(0);
    assert.equal(decoded.kind, "value");
    assert.deepEqual(decoded.value.properties.correlationData, Uint8Array.of(0x61));
  });

  it("cannot be made to set anything else on the object", () => {
    const list = encodePropertyList({ userProperties: [["__proto__", "constructor"]] }, publish);
    const decoded = decodeProperties(
      Buffer.concat([Buffer.of(list.length), list]),
      0,
      list.length + 1,
      publish,
    );
    assert.equal(decoded.kind, "value");
    assert.deepEqual(Object.keys(decoded.value.properties), ["userProperties"]);
    assert.equal(Object.getPrototypeOf(decoded.value.properties), Object.prototype);
  });
});

describe("encoding what MQTT cannot carry is the caller's mistake", () => {
  const mistakes: readonly (readonly [PropertyPlace, Properties, typeof RangeError | typeof TypeError])[] = [
    [publish, { topicAlias: 65_536 }, RangeError],
    [publish, { messageExpiryInterval: -1 }, RangeError],
    [publish, { messageExpiryInterval: 1.5 }, RangeError],
    [publish, { messageExpiryInterval: Number.NaN }, RangeError],
    [publish, { subscriptionIdentifiers: [268_435_456] }, RangeError],
    [publish, { correlationData: new Uint8Array(65_536) }, RangeError],
    [publish, { contentType: "ä".repeat(32_768) }, RangeError],
    [publish, { contentType: "a\0b" }, TypeError],
    [publish, { contentType: "\ud800" }, TypeError],
    [publish, { userProperties: [["a", "\udc00"]] }, TypeError],
  ];
  for (const [index, [place, properties, error]] of mistakes.entries()) {
    it(`${error.name} for ${Object.keys(properties).join()} (${index})`, () => {
      assert.throws(() => encodePropertyList(properties, place), error);
    });
  }
});
