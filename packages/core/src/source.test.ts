import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { sourceOf } from "./source.ts";

describe("the source of an attempt", () => {
  for (const [address, source] of [
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["::FFFF:192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:0DB8:0001:0002::9", "2001:db8:1:2::/64"],
    ["2001:db8::9", "2001:db8:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["", "local"],
  ] as const) {
    it(`of ${address === "" ? "a Unix socket" : address} is ${source}`, () => {
      assert.equal(sourceOf(address), source);
    });
  }
});
