import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isLoopback, sourceOf } from "./source.ts";

describe("a source", () => {
  it("is the IPv4 address, however the socket writes it", () => {
    assert.equal(sourceOf("192.0.2.7"), "192.0.2.7");
    assert.equal(sourceOf("::ffff:192.0.2.7"), "192.0.2.7");
  });

  it("is the /64 of an IPv6 address", () => {
    const one = "2001:db8:1:2::/64";
    for (const address of ["2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::ffff:1%eth0"])
      assert.equal(sourceOf(address), one);
    assert.notEqual(sourceOf("2001:db8:1:3::1"), one);
    assert.equal(sourceOf("2001:db8::1"), "2001:db8:0:0::/64");
    assert.equal(sourceOf("::1"), "0:0:0:0::/64");
  });

  it("is the machine itself for loopback and Unix sockets, and nothing else", () => {
    for (const address of ["", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
      assert.ok(isLoopback(address));
    for (const address of ["192.0.2.7", "::2", "2001:db8::1", "::ffff:192.0.2.7"])
      assert.ok(!isLoopback(address));
  });
});
