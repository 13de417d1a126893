/**
 * `npm run bench`: the brokers side by side. `npm run bench -- NAME… [OPTIONS]` runs other measurements, or some scenarios of that one; `all`
 * runs every measurement, `list` says which there are. Names that no measurement has are a part of the one before them (`growth queued`).
 * Options go to the measurement. Each runs in a process of its own.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import { join } from "node:path";

const folder = import.meta.dirname;
/** Runs when nothing is named; names that stand before all measurements are its scenarios. */
const comparison = "broker-scenarios";

function measurements(): Map<string, string> {
  const files = globSync("*/*.bench.ts", { cwd: folder }).sort();
  return new Map(
    files.map((file) => [file.replace(/\.bench\.ts$/, "").replace("/", "-"), join(folder, file)]),
  );
}

/** The measurement of that name; a name may stand without its folder where only one has it. */
function find(known: ReadonlyMap<string, string>, name: string): string | undefined {
  if (known.has(name)) return name;
  const ending = [...known.keys()].filter((key) => key.endsWith(`-${name}`));
  return ending.length === 1 ? ending[0] : undefined;
}

/** The measurements that are wanted, each with what is wanted of it: all, when nothing is. */
function partsOf(known: ReadonlyMap<string, string>, names: readonly string[]): Map<string, string[]> {
  const parts = new Map<string, string[]>();
  let last = comparison;
  for (const name of names) {
    if (name === "all") continue;
    const found = find(known, name);
    last = found ?? last;
    const part = parts.get(last) ?? [];
    if (found === undefined) part.push(name);
    parts.set(last, part);
  }
  return parts;
}

async function main(args: readonly string[]): Promise<number> {
  const known = measurements();
  const firstOption = args.findIndex((arg) => arg.startsWith("-"));
  const names = firstOption < 0 ? args : args.slice(0, firstOption);
  const options = args.slice(names.length);
  if (names.includes("list")) {
    console.log(`npm run bench -- ${[...known.keys(), "all"].join(" | ")}`);
    return 0;
  }
  const parts = partsOf(known, names);
  if (names.includes("all")) for (const name of known.keys()) if (!parts.has(name)) parts.set(name, []);
  if (parts.size === 0) parts.set(comparison, []);
  const [load = 0] = loadavg();
  console.log(
    `${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, load ${load.toFixed(1)} before, Node ${process.versions.node}`,
  );
  for (const [name, more] of parts) {
    console.log(`\n# ${name}`);
    const child = spawn(process.execPath, [known.get(name) ?? "", ...more, ...options], { stdio: "inherit" });
    // Ctrl-C reaches it by itself; whoever ends this program alone means it, too.
    const pass = (signal: NodeJS.Signals): boolean => child.kill(signal);
    process.once("SIGTERM", pass).once("SIGINT", pass);
    const [code] = await once(child, "close");
    if (code !== 0) return typeof code === "number" ? code : 1;
  }
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
