import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import {
  ipBytes,
  ipFromBytes,
  ipSource,
  isUnspecified,
  parseIpAddress,
  parseIpSource,
} from "./ip-address.ts";

function address(text: string) {
  const parsed = parseIpAddress(text);
  assert.ok(parsed !== undefined, text);
  return parsed;
}

describe("IP addresses", () => {
  const forms: readonly [text: string, canonical: string][] = [
    ["10.0.0.1", "10.0.0.1"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["::FFFF:0A00:0001", "10.0.0.1"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["fe80::1%eth0", "fe80::1"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
  ];
  for (const [text, canonical] of forms) {
    it(`reads ${text} as ${canonical} (RFC 5952 §4)`, () => {
      assert.equal(parseIpAddress(text), canonical);
      assert.equal(ipFromBytes(ipBytes(address(text))), canonical);
    });
  }

  it("refuses what is no address", () => {
    for (const text of ["", "10.0.0", "10.0.0.256", "1:2:3", ":::", "host", "10.0.0.1/24", "::1%"]) {
      const expected = text === "::1%" ? "::1" : undefined;
      assert.equal(parseIpAddress(text), expected, text);
    }
  });

  it("gives the same 16 bytes back, whatever they are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const text = ipFromBytes(bytes);
        assert.equal(parseIpAddress(text), text);
        assert.deepEqual(ipBytes(text), Buffer.from(bytes));
      }),
    );
  });

  it("knows the unspecified address from all others", () => {
    assert.ok(isUnspecified(ipBytes(address("::"))));
    assert.ok(!isUnspecified(ipBytes(address("::1"))));
    assert.ok(!isUnspecified(ipBytes(address("0.0.0.0"))));
  });
});

describe("sources", () => {
  it("are an IPv4 address or the /64 of an IPv6 address", () => {
    assert.equal(ipSource(address("10.0.0.1")), "10.0.0.1");
    assert.equal(ipSource(address("2001:db8:1:2:3:4:5:6")), "2001:db8:1:2::/64");
    assert.equal(ipSource(address("::1")), "::/64");
  });

  it("are read again from their text, and from any address", () => {
    assert.equal(parseIpSource("2001:db8:1:2::/64"), "2001:db8:1:2::/64");
    assert.equal(parseIpSource("2001:db8:1:2::7"), "2001:db8:1:2::/64");
    assert.equal(parseIpSource("10.0.0.1"), "10.0.0.1");
    for (const text of ["10.0.0.1/64", "10.0.0.0/24", "2001:db8::/48", "", "/64"]) {
      assert.equal(parseIpSource(text), undefined, text);
    }
  });
});
