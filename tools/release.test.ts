import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";

import { manifestAt, read, root } from "./repository.ts";

const run = promisify(execFile);
const { version } = manifestAt("package.json");
const sources = join(root, "packages", "cli", "bin", "postern.js");

/** In a clone, the runtime keeps what it compiled; a first start has nothing of that yet. */
const withoutCache = { ...process.env, NODE_DISABLE_COMPILE_CACHE: "1" };

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

/** Milliseconds that `work` takes. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

/** Starts a server in a new data directory, waits until it says that it runs, stops it; rejects unless it ends well. */
async function upAndDown(bin: string, home: string, more = ""): Promise<void> {
  const directory = mkdtempSync(join(home, "up-"));
  const config = join(directory, "config.yaml");
  writeFileSync(config, `listeners:\n  - url: mqtts://127.0.0.1:0\nmetrics:\n  url: off\n${more}`);
  const args = [bin, "up", "--config", config, "--data", join(directory, "data")];
  const child = spawn(process.execPath, args, { env: withoutCache, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const read = (chunk: Buffer): void => {
    output += chunk.toString("utf8");
    if (output.includes(" is running.")) child.kill("SIGINT");
  };
  child.stdout.on("data", read);
  child.stderr.on("data", read);
  const [code] = await once(child, "close");
  assert.equal(code, 0, output);
  assert.match(output, / is running\./);
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

  it("shows its configuration, and takes it for one", async () => {
    const bin = join(installed, "bin", "postern.js");
    const { stdout } = await run(process.execPath, [bin, "config", "show"], { cwd: home });
    const file = join(home, "shown.yaml");
    writeFileSync(file, stdout);
    await run(process.execPath, [bin, "config", "check", file], { cwd: home });
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

  it("starts a server, with one thread or several, which stops cleanly", async () => {
    const bin = join(installed, "bin", "postern.js");
    await upAndDown(bin, home);
    await upAndDown(bin, home, "workers: 3\n");
  });

  it("starts faster than the sources do the first time", async (t) => {
    const release = join(installed, "bin", "postern.js");
    /** The least of three, taken in turn: what else the machine does only adds. */
    const compare = async (what: string, start: (bin: string) => Promise<unknown>): Promise<void> => {
      let releaseMs = Infinity;
      let sourcesMs = Infinity;
      for (let round = 0; round < 3; round += 1) {
        releaseMs = Math.min(releaseMs, await timed(async () => start(release)));
        sourcesMs = Math.min(sourcesMs, await timed(async () => start(sources)));
      }
      t.diagnostic(`${what}: ${releaseMs.toFixed(0)} ms, from the sources ${sourcesMs.toFixed(0)} ms`);
      assert.ok(releaseMs < sourcesMs, what);
    };
    await compare("postern --version", async (bin) =>
      run(process.execPath, [bin, "--version"], { env: withoutCache }),
    );
    await compare("postern up, to the end of a clean shutdown", async (bin) => upAndDown(bin, home));
  });
});
