/**
 * `npm test`: the peers that tests talk to, `npm run check`, then every test, with the program built as it is published.
 * `npm test -- FILE…` runs these files only, with the program's sources; `npm run test:slow` runs `*.slow.test.ts` only.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";

import { hostsRefused, sweepLeftOvers } from "../packages/gate/src/hosts/namespaces.ts";
import { installMissing, missing } from "./peers.ts";
import { ended, environment, leftBehind, send, start, takeChildrenAlong } from "./processes.ts";
import { find, root } from "./repository.ts";

const { values: options, positionals: given } = parseArgs({
  options: { slow: { type: "boolean", default: false } },
  allowPositionals: true,
});

const timeoutMs = options.slow ? 3_600_000 : 180_000;

/** The built program that tests start; it finds the native packages in `node_modules` above it. */
const built = join(root, "dist", "test");

/** They measure how long others wait while a server is flooded: other tests beside them would be measured too. */
const alone = [
  "packages/cli/test/attacks/51-53-slow-clients.test.ts",
  "packages/cli/test/attacks/58-60-floods.test.ts",
];

/**
 * Those that start processes first: they take seconds where others take a moment, and no core waits for a long one at the end.
 */
function longestFirst(files: readonly string[]): string[] {
  const { long = [], short = [] } = Object.groupBy(files, (path) =>
    /^(packages\/\w+\/test|tools)\//.test(path) ? "long" : "short",
  );
  return [...long, ...short];
}

function selected(): string[] {
  if (given.length > 0) return given;
  const all = find("packages/**/*.test.ts", "bench/**/*.test.ts", "tools/**/*.test.ts");
  return longestFirst(all.filter((path) => path.endsWith(".slow.test.ts") === options.slow));
}

async function runTests(files: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
  const args = [`--timeout-ms=${timeoutMs}`, ...alone.map((path) => `--alone=${path}`), ...files];
  return runTool("run-tests.ts", args, env);
}

/** Runs a file of this folder and lets it write where we do. Every process of a run compiles the same modules. */
async function runTool(
  name: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  return ended(
    start(process.execPath, [join(root, "tools", name), ...args], {
      env: {
        NODE_COMPILE_CACHE: join(root, "node_modules", ".cache", "compile"),
        ...environment(),
        ...env,
      },
      stdio: ["ignore", "inherit", "inherit"],
    }),
  );
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
    const code = await runTool("check.ts");
    if (code !== 0) return code;
  }
  const files = selected();
  if (files.length === 0) {
    console.log("There are no such tests.");
    return 0;
  }
  if (everything) {
    const code = await runTool("build.ts", [built]);
    if (code !== 0) return code;
  }
  const code = await runTests(
    files,
    everything ? { POSTERN_UNDER_TEST: join(built, "bin", "postern.js") } : {},
  );
  const survivors = leftBehind();
  for (const { pid } of survivors) send(pid, "SIGKILL");
  return code === 0 && survivors.length > 0 ? 1 : code;
}

/** Network namespaces outlive who made them. */
async function removeHosts(): Promise<void> {
  if ((await hostsRefused()) === undefined) await sweepLeftOvers();
}

takeChildrenAlong(removeHosts);
process.exitCode = await main();
