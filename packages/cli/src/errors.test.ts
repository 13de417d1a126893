import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { UsageError, reportError } from "./errors.ts";
import { fakeContext } from "./testing.ts";

describe("error report", () => {
  it("is one sentence without a stack trace", () => {
    const context = fakeContext();
    assert.equal(reportError(new UsageError("no such file: b.json"), context), 2);
    assert.equal(context.err(), "postern: no such file: b.json\n");
  });

  it("is one sentence for an error nobody expected, with the way to learn more", () => {
    const context = fakeContext();
    assert.equal(reportError(new RangeError("index 7"), context), 1);
    assert.match(context.err(), /^postern: unexpected error: index 7 \(.*POSTERN_DEBUG=1.*\)\n$/);
  });

  it("shows the stack trace with POSTERN_DEBUG=1", () => {
    const context = fakeContext({ env: { POSTERN_DEBUG: "1" } });
    reportError(new UsageError("no", { cause: new Error("why") }), context);
    assert.match(context.err(), /\n {4}at /);
    assert.match(context.err(), /caused by Error: why/);
  });
});
