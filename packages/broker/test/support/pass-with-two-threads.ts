import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** Runs files of tests, relative to `packages/broker/test`, against brokers with two threads. */
export async function passWithTwoThreads(files: readonly string[]): Promise<void> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const tests = spawn(process.execPath, ["--test", "--test-reporter=dot", ...files], {
    cwd: join(import.meta.dirname, ".."),
    env: { ...env, POSTERN_TEST_WORKERS: "2" },
  });
  let output = "";
  for (const stream of [tests.stdout, tests.stderr])
    stream.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
  const kill = (): void => void tests.kill();
  process.once("exit", kill);
  await once(tests, "close");
  process.off("exit", kill);
  assert.equal(tests.exitCode, 0, output);
}
