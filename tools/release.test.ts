import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";

import { manifestAt, read, root } from "./repository.ts";

const run = promisify(execFile);
const { version } = manifestAt("package.json");
const sources = join(root, "packages", "cli", "bin", "postern.js");

/** Copies an installed package and all it needs, so that nothing is downloaded. */
function copyInstalled(name: string, target: string): void {
  const from = join(root, "node_modules", name);
  const to = join(target, name);
  if (existsSync(to) || !existsSync(from)) return;
  cpSync(from, to, { recursive: true });
  const manifest = manifestAt(join("node_modules", name, "package.json"));
  for (const needed of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
    copyInstalled(needed, target);
  }
}

/** Milliseconds that `postern --version` takes: the median of five runs. */
async function startMs(bin: string): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const startedMs = performance.now();
    await run(process.execPath, [bin, "--version"]);
    times.push(performance.now() - startedMs);
  }
  return times.toSorted((a, b) => a - b)[2] ?? Infinity;
}

describe("the release", { timeout: 120_000 }, () => {
  let home = "";
  let installed = "";
  before(async () => {
    home = mkdtempSync(join(tmpdir(), "postern-release-"));
    const built = join(home, "built");
    await run(process.execPath, [join(root, "tools", "build.ts"), built], { cwd: root });
    await run("npm", ["pack", "--silent", "--pack-destination", home], { cwd: built });
    installed = join(home, "node_modules", "postern");
    mkdirSync(installed, { recursive: true });
    const archive = join(home, `postern-${version}.tgz`);
    await run("tar", ["-xzf", archive, "-C", installed, "--strip-components=1"]);
    const { dependencies } = manifestAt(join(installed, "package.json"));
    for (const name of Object.keys(dependencies)) copyInstalled(name, join(home, "node_modules"));
  });
  after(() => rmSync(home, { recursive: true, force: true }));

  it("runs away from the sources", async () => {
    const { stdout } = await run(process.execPath, [join(installed, "bin", "postern.js"), "--version"], {
      cwd: home,
    });
    assert.equal(stdout, `${version}\n`);
  });

  it("asks for the oldest Node that its bin accepts", () => {
    const bin = read("packages/cli/bin/postern.js");
    const number = (name: string) => new RegExp(`var ${name} = (\\d+);`).exec(bin)?.[1];
    const manifest: unknown = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
    assert.ok(typeof manifest === "object" && manifest !== null && "engines" in manifest);
    assert.deepEqual(manifest.engines, { node: `>=${number("MAJOR_MIN")}.${number("MINOR_MIN")}` });
  });

  it("brings its licence and those of what is bundled", () => {
    assert.equal(readFileSync(join(installed, "LICENSE"), "utf8"), read("LICENSE"));
    assert.match(readFileSync(join(installed, "THIRD-PARTY-LICENSES.txt"), "utf8"), /^commander \d/m);
  });

  it("starts faster than the sources", async (t) => {
    const sourcesMs = await startMs(sources);
    const releaseMs = await startMs(join(installed, "bin", "postern.js"));
    t.diagnostic(
      `postern --version: ${releaseMs.toFixed(0)} ms, from the sources ${sourcesMs.toFixed(0)} ms`,
    );
    assert.ok(releaseMs < sourcesMs);
  });
});
