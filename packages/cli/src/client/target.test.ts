import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isLocal } from "@postern/device/target";

import { UsageError } from "../errors.ts";
import { targetOfUrl } from "./target.ts";

describe("server address", () => {
  it("takes the schemes of MQTT with their usual ports", () => {
    const cases: readonly (readonly [text: string, url: string])[] = [
      ["mqtt://broker", "mqtt://broker:1883"],
      ["mqtts://broker", "mqtts://broker:8883"],
      ["tls://broker:1", "mqtts://broker:1"],
      ["ws://broker", "ws://broker:80/"],
      ["wss://broker/mqtt?x=1", "wss://broker:443/mqtt?x=1"],
      ["mqtt://[::1]:11883", "mqtt://[::1]:11883"],
      ["unix:///run/my%20broker", "unix:///run/my broker"],
    ];
    for (const [text, url] of cases) assert.equal(targetOfUrl(text).target.url, url);
  });

  it("gives the host without brackets, for sockets and certificates", () => {
    const { target } = targetOfUrl("mqtts://[::1]");
    assert.ok(target.kind === "tls");
    assert.equal(target.host, "::1");
    assert.ok(isLocal(target));
  });

  it("takes a user name and refuses a password, without repeating it", () => {
    assert.equal(targetOfUrl("mqtt://al%40ice@broker").username, "al@ice");
    assert.throws(
      () => targetOfUrl("mqtt://alice:secret@broker"),
      (thrown) =>
        thrown instanceof UsageError &&
        thrown.message.includes("--password-file") &&
        !thrown.message.includes("secret"),
    );
  });

  it("refuses what is no address, and says what one looks like", () => {
    const texts = ["broker", "broker:1883", "http://broker", "mqtt://", "mqtt://broker:99999"];
    for (const text of [...texts, "mqtt://broker/sensors", "unix://relative", "unix:///"]) {
      assert.throws(
        () => targetOfUrl(text),
        (thrown) => thrown instanceof UsageError && thrown.message.includes(text),
        text,
      );
    }
  });
});
