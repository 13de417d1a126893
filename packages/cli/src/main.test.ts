import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { run } from "./main.ts";
import { fakeContext } from "./testing.ts";
import { version } from "./version.ts";

describe("postern command line", () => {
  it("ends with 0 after --help and --version", async () => {
    const help = fakeContext();
    assert.equal(await run(["--help"], help), 0);
    assert.match(help.out(), /Usage: postern /);
    const asked = fakeContext();
    assert.equal(await run(["--version"], asked), 0);
    assert.equal(asked.out(), `${version}\n`);
  });

  it("ends with 2 and one sentence on stderr for a command line it does not understand", async () => {
    for (const args of [["up", "--no-such-option"], ["up", "--data"], ["upp"]]) {
      const context = fakeContext();
      assert.equal(await run(args, context), 2, args.join(" "));
      assert.match(context.err(), /^postern: /);
      assert.equal(context.out(), "");
    }
  });
});
