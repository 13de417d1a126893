/**
 * `npm test`: the peers that tests talk to, `npm run check`, then every test.
 * `npm test -- FILE…` runs these files only; `npm run test:slow` runs `*.slow.test.ts` only.
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { installMissing, missing } from "./peers.ts";
import { ended, leftBehind, send, start, takeChildrenAlong } from "./processes.ts";
import { find, root } from "./repository.ts";

const { values: options, positionals: given } = parseArgs({
  options: { slow: { type: "boolean", default: false } },
  allowPositionals: true,
});

const timeoutMs = options.slow ? 3_600_000 : 180_000;

function selected(): string[] {
  if (given.length > 0) return given;
  const all = find("packages/**/*.test.ts", "tools/**/*.test.ts");
  return all.filter((path) => path.endsWith(".slow.test.ts") === options.slow);
}

async function runTests(files: readonly string[]): Promise<number> {
  const args = [
    "--test",
    `--test-concurrency=${Math.max(2, Math.min(4, availableParallelism()))}`,
    `--test-timeout=${timeoutMs}`,
    `--test-reporter=${join(root, "tools", "reporter.ts")}`,
    "--test-reporter-destination=stdout",
    ...files,
  ];
  return ended(start(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] }));
}

function sayLoudly(lines: readonly string[]): void {
  if (lines.length === 0) return;
  console.error(
    ["", "!! Tests that need these are skipped:", ...lines.map((line) => `!!   ${line}`), ""].join("\n"),
  );
}

async function main(): Promise<number> {
  const everything = given.length === 0;
  sayLoudly(
    everything ? await installMissing() : missing().map((peer) => `${peer.package} is not installed`),
  );
  if (everything && !options.slow) {
    const code = await ended(
      start(process.execPath, [join(root, "tools", "check.ts")], { stdio: ["ignore", "inherit", "inherit"] }),
    );
    if (code !== 0) return code;
  }
  const files = selected();
  if (files.length === 0) {
    console.log("There are no such tests.");
    return 0;
  }
  const code = await runTests(files);
  const survivors = leftBehind();
  for (const { pid } of survivors) send(pid, "SIGKILL");
  return code === 0 && survivors.length > 0 ? 1 : code;
}

takeChildrenAlong();
process.exitCode = await main();
