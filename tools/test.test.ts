import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";

import { ended, environment } from "./processes.ts";
import { root } from "./repository.ts";

type Run = { readonly code: number; readonly lines: readonly string[] };

/** Runs `npm test -- FILE` without npm; `onOutput` is given all output so far and the process's id. */
async function runTests(file: string, onOutput?: (output: string, pid: number) => void): Promise<Run> {
  return runScript("test.ts", [file], onOutput);
}

async function runScript(
  script: string,
  args: readonly string[],
  onOutput?: (output: string, pid: number) => void,
): Promise<Run> {
  const env = environment();
  // Inside a test the runner would do nothing.
  delete env["NODE_TEST_CONTEXT"];
  const child = spawn(process.execPath, [join(root, "tools", script), ...args], { env, stdio: "pipe" });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString("utf8");
    if (child.pid !== undefined) onOutput?.(output, child.pid);
  });
  const code = await ended(child);
  return { code, lines: output.trimEnd().split("\n") };
}

/** Whether the process is gone, or about to be: a signal takes a moment. A process that nobody has waited for has no command. */
async function isGone(pid: number): Promise<boolean> {
  for (let round = 0; round < 100; round += 1) {
    const path = `/proc/${pid}/cmdline`;
    if (!existsSync(path) || readFileSync(path, "utf8") === "") return true;
    await setTimeout(20);
  }
  return false;
}

describe("npm test", () => {
  let home = "";
  before(() => (home = mkdtempSync(join(tmpdir(), "postern-test-"))));
  after(() => rmSync(home, { recursive: true, force: true }));

  function testFile(name: string, ...lines: string[]): string {
    const path = join(home, `${name}.test.mjs`);
    const imports = [`import { it } from "node:test";`, `import { spawn } from "node:child_process";`];
    writeFileSync(path, [...imports, ...lines].join("\n"));
    return path;
  }

  const closing = ["tests", "suites", "pass", "fail", "cancelled", "skipped", "todo", "duration_ms"];

  it("ends with the runner's closing lines and exit code 0 when all is well", async () => {
    const { code, lines } = await runTests(testFile("good", `it("works", () => {});`));
    assert.equal(code, 0);
    const words = lines.slice(-closing.length).map((line) => /^ℹ (\w+) [\d.]+$/.exec(line)?.[1]);
    assert.deepEqual(words, closing);
    assert.ok(lines.includes("ℹ pass 1"));
  });

  it("lists what was skipped with its reason, then ends with the closing lines, also after a failure", async () => {
    const file = testFile(
      "mixed",
      `it("breaks", () => { throw new Error("broken"); });`,
      `it("needs a peer", { skip: "no peer here" }, () => {});`,
      `it("comes later", { todo: "one day" }, () => {});`,
    );
    const { code, lines } = await runTests(file);
    assert.equal(code, 1);
    const at = (text: string): number => lines.findIndex((line) => line.includes(text));
    assert.ok(at("2 left out, for 2 reasons") > at("Error: broken"), lines.join("\n"));
    assert.ok(at("  1 skipped: no peer here") > at("2 left out"));
    assert.ok(at("  1 todo: one day") > at("2 left out"));
    assert.ok(at("ℹ tests 3") > at("one day"));
    assert.match(lines.at(-1) ?? "", /^ℹ duration_ms /);
  });

  it("ends although a test that took too long keeps its process busy with what it began", async () => {
    const file = testFile("endless", `it("waits", () => new Promise(() => setInterval(() => {}, 1_000)));`);
    const { code, lines } = await runScript("run-tests.ts", ["--timeout-ms=500", file]);
    assert.equal(code, 1);
    assert.match(lines.join("\n"), /test timed out after 500ms[^]*ℹ cancelled 1/);
  });

  const noProc = process.platform === "linux" ? false : "processes left behind are found through /proc";

  it("ends a file whose process never yields", { skip: noProc }, async () => {
    const file = testFile("busy", `it("spins", () => { for (;;); });`);
    const good = testFile("good-too", `it("works", () => {});`);
    const { code, lines } = await runScript("run-tests.ts", ["--timeout-ms=500", file, good]);
    assert.equal(code, 1);
    assert.match(lines.join("\n"), /ℹ pass 1\nℹ fail 1/);
  });

  it("fails, names and ends a process that a test left behind", { skip: noProc }, async () => {
    const file = testFile(
      "leak",
      `it("leaks", () => {`,
      `  const child = spawn("sleep", ["1000"], { detached: true, stdio: "ignore" });`,
      `  child.unref();`,
      `});`,
    );
    const { code, lines } = await runTests(file);
    assert.equal(code, 1);
    assert.ok(lines.includes("ℹ fail 0"));
    const [, pid] = /^ {2}(\d+) sleep 1000$/m.exec(lines.join("\n")) ?? [];
    assert.ok(pid !== undefined, lines.join("\n"));
    assert.ok(await isGone(Number(pid)));
  });

  it(
    "finds what was left behind by a test that starts programs as a run does",
    { skip: noProc },
    async () => {
      const file = testFile(
        "nested",
        `import { environment } from ${JSON.stringify(join(root, "tools", "processes.ts"))};`,
        `it("leaks", () => {`,
        `  const child = spawn("sleep", ["1001"], { detached: true, stdio: "ignore", env: environment() });`,
        `  child.unref();`,
        `});`,
      );
      const { code, lines } = await runTests(file);
      const [, pid] = /^ {2}(\d+) sleep 1001$/m.exec(lines.join("\n")) ?? [];
      assert.ok(pid !== undefined, lines.join("\n"));
      assert.equal(code, 1);
      assert.ok(await isGone(Number(pid)));
    },
  );

  it("takes everything it started along when it is interrupted", { skip: noProc }, async () => {
    const file = testFile(
      "endless",
      `it("starts", () => {`,
      `  const child = spawn("sleep", ["1000"], { detached: true, stdio: "ignore" });`,
      `  child.unref();`,
      `  console.log("started", child.pid);`,
      `});`,
      `it("waits", async () => { await new Promise((resolve) => setTimeout(resolve, 100_000)); });`,
    );
    let interrupted = false;
    const { code, lines } = await runTests(file, (output, pid) => {
      if (interrupted || !output.includes("started")) return;
      interrupted = true;
      process.kill(pid, "SIGINT");
    });
    assert.equal(code, 128 + constants.signals.SIGINT);
    const [, sleeper] = /started (\d+)/.exec(lines.join("\n")) ?? [];
    assert.ok(sleeper !== undefined);
    assert.ok(await isGone(Number(sleeper)));
  });
});
