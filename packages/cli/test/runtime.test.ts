import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { describe, it } from "node:test";

import { configured, plainAnonymous } from "./support/configurations.ts";
import { bin, postern, scratch, up } from "./support/postern.ts";

function versionOf(runtime: string): readonly [major: number, minor: number] {
  const [major = 0, minor = 0] = execFileSync(runtime, ["--version"])
    .toString()
    .slice(1)
    .split(".")
    .map(Number);
  return [major, minor];
}

/** A runtime of this machine that is too old to run the sources. */
function oldRuntime(): string | undefined {
  const found = (process.env["PATH"] ?? "").split(delimiter).map((directory) => join(directory, "node"));
  return [...found, "/usr/bin/node", "/usr/local/bin/node"].find((path) => {
    if (!existsSync(path)) return false;
    const [major, minor] = versionOf(path);
    return major < 24 || (major === 24 && minor < 12);
  });
}

const old = oldRuntime();
const skip = old === undefined ? "this machine has no Node older than 24.12" : false;

describe("an old runtime", () => {
  it("hands over to the pinned one, with arguments, output, exit code and signals", { skip }, async () => {
    const options = old === undefined ? {} : { runtime: old };
    assert.match((await postern(["--version"], options)).stdout, /^\d+\.\d+\.\d+\n$/);
    const wrong = await postern(["config", "check", "/nowhere"], options);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /^postern: \/nowhere: cannot read the configuration/);
    using directory = scratch();
    await using server = await up(configured(directory.path, plainAnonymous), options);
    server.process.signal("SIGTERM");
    assert.equal((await server.process.ended).code, 0);
  });

  it("is told what to install where there is no pinned one", { skip }, () => {
    using directory = scratch();
    const alone = join(directory.path, "bin");
    cpSync(dirname(bin), alone, { recursive: true });
    const { status, stderr } = spawnSync(old ?? "", [join(alone, "postern.js")], { encoding: "utf8" });
    assert.equal(status, 1);
    assert.match(
      stderr,
      /^postern: needs Node 24\.12 or later and runs on \d+\.\d+\.\d+; run `npm ci` [^\n]+\n$/,
    );
  });
});

describe("the runtime of a server", () => {
  it("begins with a small part for new objects, unless it is told otherwise", async () => {
    for (const [env, wanted] of [
      [{}, "--max-semi-space-size=16"],
      [{ NODE_OPTIONS: "--max-semi-space-size=4" }, undefined],
    ] as const) {
      using directory = scratch();
      await using server = await up(configured(directory.path, plainAnonymous), { env });
      const words = readFileSync(`/proc/${server.process.child.pid ?? 0}/cmdline`, "utf8").split("\0");
      assert.equal(
        words.find((word) => word.startsWith("--max-semi-space-size")),
        wanted,
      );
    }
  });
});
