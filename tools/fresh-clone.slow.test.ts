import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, it } from "node:test";

import { ended, send } from "./processes.ts";
import { root } from "./repository.ts";

/** As in a terminal that no npm script has started: with the Node that the machine has, however old. */
function terminalEnvironment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^npm_/i.test(name) && name !== "NODE_TEST_CONTEXT" && name !== "NODE",
  );
  const path = (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter((folder) => !folder.includes("node_modules"));
  return { ...Object.fromEntries(own), PATH: path.join(delimiter) };
}

describe("a fresh clone", () => {
  it("is set up and running after npm ci && npm start, and ends with Ctrl-C", async (t) => {
    const home = mkdtempSync(join(tmpdir(), "postern-clone-"));
    t.after(() => rmSync(home, { recursive: true, force: true }));
    const clone = join(home, "postern");
    execFileSync("git", ["clone", "--quiet", root, clone]);
    // Everything as it is by default, but on ports that are free.
    mkdirSync(join(clone, "postern-data"), { mode: 0o700 });
    const config = "listeners:\n  - url: mqtts://127.0.0.1:0\nmetrics:\n  url: off\n";
    writeFileSync(join(clone, "postern-data", "postern.yaml"), config);

    const child = spawn("bash", ["-c", "npm ci && exec npm start"], {
      cwd: clone,
      env: terminalEnvironment(),
      detached: true,
    });
    const { pid } = child;
    assert.ok(pid !== undefined);
    t.after(() => send(-pid, "SIGKILL"));
    let output = "";
    let interrupted = false;
    const gather = (chunk: Buffer): void => {
      output += chunk.toString("utf8");
      if (interrupted || !output.includes(" is running.")) return;
      interrupted = true;
      send(-pid, "SIGINT");
    };
    child.stdout.on("data", gather);
    child.stderr.on("data", gather);
    const code = await ended(child);
    assert.ok(interrupted, output);
    assert.ok(code === 0 || code === 130, `${code}\n${output}`);
    assert.match(output, /stopping/);
    assert.doesNotMatch(output, /^\s+at /m);
  });
});
