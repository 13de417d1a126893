import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseIpAddress } from "@postern/knock/ip-address";

import { banTarget } from "./ban-target.ts";

const own = ["127.0.0.1", "192.168.1.126", "::1", "fd01::126", "fe80::1"].flatMap(
  (text) => parseIpAddress(text) ?? [],
);

describe("what may be locked out", () => {
  for (const [text, source] of [
    ["203.0.113.7", "203.0.113.7"],
    ["203.0.113.7/32", "203.0.113.7"],
    ["::ffff:203.0.113.7", "203.0.113.7"],
    ["192.168.1.7", "192.168.1.7"],
    ["2001:db8::7", "2001:db8::/64"],
    ["2001:db8::/64", "2001:db8::/64"],
    ["2001:db8::7/128", "2001:db8::/64"],
  ] as const) {
    it(`is ${text}`, () => {
      assert.deepEqual(banTarget(text, own), { kind: "source", source });
    });
  }

  for (const [text, why] of [
    ["127.0.0.1", /this machine itself/],
    ["127.1.2.3", /this machine itself/],
    ["::1", /this machine itself/],
    ["192.168.1.126", /this machine itself/],
    ["0.0.0.0", /no machine's address/],
    ["0.0.0.0/0", /too wide.*gate\.registered/],
    ["::", /no machine's address/],
    ["::/0", /too wide/],
    ["224.0.0.251", /multicast/],
    ["255.255.255.255", /no machine's address/],
    ["ff02::1", /multicast/],
    ["10.0.0.0/8", /too wide/],
    ["2001:db8::/32", /too wide/],
    ["2001:db8::/96", /no source of its own/],
    ["10.0.0.1/33", /no source of its own/],
    ["10.0.0.1/x", /neither an IP address/],
    ["10.0.0.1/8/8", /neither an IP address/],
    ["example.org", /neither an IP address/],
    ["", /neither an IP address/],
  ] as const) {
    it(`is not ${text}`, () => {
      const target = banTarget(text, own);
      assert.ok(target.kind === "refused");
      assert.match(target.why, why);
    });
  }

  it("is asked for twice where it holds the machine's own network, or all neighbours", () => {
    for (const [text, why] of [
      ["fd01::66", /fd01::\/64 is this machine's own network/],
      ["fe80::66%eth0", /fe80::\/64/],
    ] as const) {
      const target = banTarget(text, own);
      assert.ok(target.kind === "wide");
      assert.match(target.why, why);
    }
    assert.equal(banTarget("fe80::66", []).kind, "wide");
  });
});
