import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isLoopback } from "./loopback.ts";

describe("an address", () => {
  it("is this machine for loopback and Unix sockets, and nothing else", () => {
    for (const address of ["", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
      assert.ok(isLoopback(address));
    for (const address of ["192.0.2.7", "::2", "2001:db8::1", "::ffff:192.0.2.7"])
      assert.ok(!isLoopback(address));
  });
});
