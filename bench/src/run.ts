/**
 * `npm run bench`: says which measurements there are. `npm run bench -- NAME…` runs them, `all` every one.
 * A measurement is a program that prints what it found; each runs in a process of its own.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import { join } from "node:path";

const folder = import.meta.dirname;

function measurements(): Map<string, string> {
  const files = globSync("*/*.bench.ts", { cwd: folder }).sort();
  return new Map(
    files.map((file) => [file.replace(/\.bench\.ts$/, "").replace("/", "-"), join(folder, file)]),
  );
}

async function main(wanted: readonly string[]): Promise<number> {
  const known = measurements();
  const names = wanted.includes("all") ? [...known.keys()] : wanted;
  const unknown = names.filter((name) => !known.has(name));
  if (names.length === 0 || unknown.length > 0) {
    console.log(`npm run bench -- ${[...known.keys(), "all"].join(" | ")}`);
    return unknown.length > 0 ? 2 : 0;
  }
  const [load = 0] = loadavg();
  console.log(
    `${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, load ${load.toFixed(1)} before, Node ${process.versions.node}`,
  );
  for (const name of names) {
    console.log(`\n# ${name}`);
    const child = spawn(process.execPath, [known.get(name) ?? ""], { stdio: "inherit" });
    const [code] = await once(child, "close");
    if (code !== 0) return 1;
  }
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
