import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { InvalidArgumentError } from "commander";

import { PacketType } from "@postern/mqtt/packets";

import { UsageError } from "../errors.ts";
import { collectProperty, collectUserProperty, parseBinary, placeProperties } from "./property-options.ts";

const { publish, subscribe } = PacketType;

function placed(own: typeof publish | typeof subscribe, ...texts: readonly string[]) {
  const options = texts.reduce<ReturnType<typeof collectProperty>>(
    (list, text) => collectProperty(text, list),
    [],
  );
  return placeProperties(options, own);
}

describe("--property", () => {
  it("goes into the first packet that may carry it, or where its prefix says (MQTT 5.0 §2.2.2.2)", () => {
    assert.deepEqual(
      placed(
        publish,
        "content-type=text/plain",
        "will.content-type=text/html",
        "connect.user-property=a=b=c",
        "connect.user-property=a=d",
        "receive-maximum=7",
        "will-delay-interval=0",
        "payload-format-indicator=true",
        "correlation-data=hex:00ff",
      ),
      {
        own: { contentType: "text/plain", payloadFormatIndicator: 1, correlationData: Buffer.of(0, 0xff) },
        connect: {
          userProperties: [
            ["a", "b=c"],
            ["a", "d"],
          ],
          receiveMaximum: 7,
        },
        will: { contentType: "text/html", willDelayInterval: 0 },
      },
    );
    assert.deepEqual(placed(subscribe, "subscription-identifier=5").own, { subscriptionIdentifiers: [5] });
  });

  it("is refused where the specification has no place for it, and with a bad value", () => {
    const cases: readonly (readonly [own: typeof publish | typeof subscribe, text: string, says: RegExp])[] =
      [
        [publish, "subscription-identifier=5", /no such property for a message/],
        [publish, "will.receive-maximum=5", /no such property for will/],
        [publish, "connect.content-type=x", /no such property for connect/],
        [publish, "receive-maximum=0", /whole number from 1 to 65535/],
        [publish, "message-expiry-interval=4294967296", /whole number from 0 to 4294967295/],
        [publish, "message-expiry-interval=-1", /whole number/],
        [publish, "message-expiry-interval=1.5", /whole number/],
        [subscribe, "subscription-identifier=0", /whole number from 1 to 268435455/],
        [publish, "payload-format-indicator=2", /neither 0 nor 1/],
        [publish, "response-topic=a/#", /without wildcards/],
        [publish, `content-type=${"x".repeat(65_536)}`, /more than 65,535 bytes/],
      ];
    for (const [own, text, says] of cases) {
      assert.throws(
        () => placed(own, text),
        (thrown) => thrown instanceof UsageError && says.test(thrown.message),
        text,
      );
    }
  });

  it("names all properties when it does not know one; a server's own are not offered", () => {
    for (const text of ["no-such=1", "assigned-client-identifier=x", "authentication-method=x", "novalue"]) {
      assert.throws(() => placed(publish, text), InvalidArgumentError, text);
    }
    assert.throws(() => placed(publish, "x=1"), /content-type, correlation-data.*will-delay-interval/);
  });
});

describe("--user-property", () => {
  it("keeps order, equal names and further equals signs", () => {
    const list = ["b=1", "a=2=3", "b="].reduce<ReturnType<typeof collectUserProperty>>(
      (list, text) => collectUserProperty(text, list),
      [],
    );
    assert.deepEqual(list, [
      ["b", "1"],
      ["a", "2=3"],
      ["b", ""],
    ]);
    assert.throws(() => collectUserProperty("=x", []), InvalidArgumentError);
  });
});

describe("binary data in an option", () => {
  it("is text, or hex or base64 when it says so and is", () => {
    assert.deepEqual(parseBinary("hex:0Aff"), Buffer.of(10, 255));
    assert.deepEqual(parseBinary("base64:Cv8="), Buffer.of(10, 255));
    for (const text of ["plain", "hex:0", "hex:xx", "base64:!"])
      assert.deepEqual(parseBinary(text), Buffer.from(text));
  });
});
