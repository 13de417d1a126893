import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { parseMarkdown, type Fence } from "./markdown.ts";
import { commandExists } from "./peers.ts";
import { ended, environment, send } from "./processes.ts";
import { read, root } from "./repository.ts";

/** Ports of the default configuration, as documents write them; a test has others in their place. */
const documentedPorts = { mqtts: 8883, est: 8885 } as const;

/** The blocks of a document that are run. */
function runnable(path: string): Fence[] {
  return parseMarkdown(read(path)).fences.filter(({ info }) => info[1] === "run");
}

/** For `skip`: which of these programs a document needs and this machine has not. */
export function absentPrograms(path: string, programs: readonly string[]): string | false {
  const absent = programs.filter((name) => read(path).includes(name) && !commandExists(name));
  return absent.length > 0 && `${absent.join(" and ")} not installed`;
}

/** A folder that looks like a clone to a reader, without what the clone's owner keeps in it. */
function makeClone(): string {
  const clone = mkdtempSync(join(tmpdir(), "postern-document-"));
  for (const name of ["package.json", "packages", "node_modules"])
    symlinkSync(join(root, name), join(clone, name));
  return clone;
}

/** Has the default services on these ports, and no port of its own for metrics. */
function configureDefaults(clone: string, ports: ReadonlyMap<number, number>): void {
  mkdirSync(join(clone, "postern-data"), { mode: 0o700 });
  const lines = [
    "listeners:",
    `  - url: mqtts://127.0.0.1:${ports.get(documentedPorts.mqtts)}`,
    "metrics:",
    "  url: off",
    "est:",
    `  url: https://127.0.0.1:${ports.get(documentedPorts.est)}`,
    "",
  ];
  writeFileSync(join(clone, "postern-data", "postern.yaml"), lines.join("\n"));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new TypeError("a TCP server has a port");
  return address.port;
}

interface Started {
  readonly child: ChildProcess;
  /** What it wrote so far. */
  readonly output: () => string;
}

function shell({ text }: Fence, clone: string, ports: ReadonlyMap<number, number>): Started {
  const script = [...ports].reduce((all, [from, to]) => all.replaceAll(String(from), String(to)), text);
  const child = spawn("bash", ["-euo", "pipefail", "-c", script], {
    cwd: clone,
    env: environment(),
    detached: true,
  });
  let output = "";
  const gather = (chunk: Buffer): void => void (output += chunk.toString("utf8"));
  child.stdout.on("data", gather);
  child.stderr.on("data", gather);
  return { child, output: () => output };
}

async function untilItSays(text: string, { child, output }: Started): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const look = (): void => {
      if (output().includes(text)) resolve();
    };
    child.stdout?.on("data", look);
    child.once("close", () => reject(new Error(`the server ended:\n${output()}`)));
  });
}

/**
 * Runs the blocks of a document that are marked `sh run` from top to bottom, in one folder, as they stand but for the ports.
 * `sh run server` keeps running behind the blocks that follow, of which one must stop it; `sh run refused` must end with the exit
 * code of what was tried and refused; a block of any other language with `run FILE` is written to FILE.
 */
export async function runDocument(path: string): Promise<void> {
  const blocks = runnable(path);
  assert.ok(blocks.length > 1);
  const clone = makeClone();
  const servers: { started: Started; end: Promise<number> }[] = [];
  try {
    const ports = new Map<number, number>();
    for (const port of Object.values(documentedPorts)) ports.set(port, await freePort());
    configureDefaults(clone, ports);
    for (const fence of blocks) {
      const [language, , argument] = fence.info;
      if (language !== "sh") {
        writeFileSync(join(clone, argument ?? ""), fence.text);
        continue;
      }
      const started = shell(fence, clone, ports);
      const end = ended(started.child);
      if (argument === "server") {
        servers.push({ started, end });
        await untilItSays(" is running.", started);
      } else {
        const expected = argument === "refused" ? 1 : 0;
        assert.equal(await end, expected, `${path}:${fence.line}\n${started.output()}`);
      }
    }
    for (const { started, end } of servers) assert.equal(await end, 0, started.output());
  } finally {
    for (const { started } of servers)
      if (started.child.pid !== undefined) send(-started.child.pid, "SIGKILL");
    rmSync(clone, { recursive: true, force: true });
  }
}
