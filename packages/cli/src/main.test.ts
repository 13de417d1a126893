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

  it("knows each command that its help names when it is the only one that was loaded", async () => {
    const all = fakeContext();
    assert.equal(await run(["--help"], all), 0);
    const names = [...all.out().matchAll(/^ {2}([a-z]+) /gm)].map(([, name = ""]) => name);
    assert.ok(names.length > 20, names.join(" "));
    for (const name of names.filter((one) => one !== "help")) {
      const one = fakeContext();
      assert.equal(await run([name, "--help"], one), 0, one.err());
      const asked = fakeContext();
      assert.equal(await run(["help", name], asked), 0, asked.err());
      assert.equal(one.out(), asked.out());
      assert.match(one.out(), new RegExp(`Usage: postern ${name} `));
    }
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
