/** `npm run check`: every `check:…` script of package.json side by side; says what failed and shows that output only. */
import { environment, ended, start, takeChildrenAlong } from "./processes.ts";
import { manifestAt } from "./repository.ts";

type Outcome = { readonly ok: boolean; readonly output: string };

async function run(command: string): Promise<Outcome> {
  const env = environment();
  if (process.stdout.isTTY) env["FORCE_COLOR"] = "1";
  const child = start(command, [], { shell: true, env, stdio: ["ignore", "pipe", "pipe"] });
  const chunks: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => chunks.push(chunk));
  const code = await ended(child);
  return { ok: code === 0, output: Buffer.concat(chunks).toString("utf8").trimEnd() };
}

takeChildrenAlong();
const prefix = "check:";
const parts = Object.entries(manifestAt("package.json").scripts).filter(([name]) => name.startsWith(prefix));
const failed: { readonly name: string; readonly command: string; readonly output: string }[] = [];
await Promise.all(
  parts.map(async ([name, command]) => {
    const startedMs = performance.now();
    const { ok, output } = await run(command);
    const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
    console.log(`${ok ? "✔" : "✖"} ${name.slice(prefix.length)} (${seconds} s)`);
    if (!ok) failed.push({ name, command, output });
  }),
);
for (const { name, command, output } of failed) {
  console.error(`\n✖ ${name}: ${command}\n${output}`);
}
if (failed.length > 0) process.exitCode = 1;
