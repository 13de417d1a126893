import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { parseMarkdown, type Fence } from "./markdown.ts";
import { commandExists } from "./peers.ts";
import { ended, environment, send } from "./processes.ts";
import { read, root } from "./repository.ts";

/**
 * Blocks of the readme marked `sh run` are run from top to bottom, in one folder, as they stand but for the port.
 * `sh run server` keeps running behind the blocks that follow, of which one must stop it; `sh run refused` must end with the exit
 * code of what was tried and refused; `yaml run FILE` is written to FILE first.
 */
const blocks = parseMarkdown(read("README.md")).fences.filter(({ info }) => info[1] === "run");

const documentedPort = 8883;

/** A folder that looks like a clone to a reader, without what the clone's owner keeps in it. */
function makeClone(): string {
  const clone = mkdtempSync(join(tmpdir(), "postern-readme-"));
  for (const name of ["package.json", "packages", "node_modules"])
    symlinkSync(join(root, name), join(clone, name));
  return clone;
}

/** Has the default listener on `port`, and no port of its own for metrics. */
function configureDefaults(clone: string, port: number): void {
  mkdirSync(join(clone, "postern-data"), { mode: 0o700 });
  const lines = ["listeners:", `  - url: mqtts://127.0.0.1:${port}`, "metrics:", "  url: off", ""];
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

/** Starts a block in a shell; its output gathers in the returned function's result. */
function shell(fence: Fence, clone: string, port: number): { child: ChildProcess; output: () => string } {
  const script = fence.text.replaceAll(String(documentedPort), String(port));
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

async function untilItSays(text: string, started: ReturnType<typeof shell>): Promise<void> {
  const { child, output } = started;
  await new Promise<void>((resolve, reject) => {
    const look = (): void => {
      if (output().includes(text)) resolve();
    };
    child.stdout?.on("data", look);
    child.once("close", () => reject(new Error(`the server ended:\n${output()}`)));
  });
}

describe("README.md", () => {
  it("has exactly the two commands that set everything up", () => {
    const commands = parseMarkdown(read("README.md"))
      .fences.filter(({ info }) => info[0] === "sh")
      .flatMap(({ text }) => text.split("\n"))
      .filter((line) => line.includes("npm ci"));
    assert.deepEqual(commands, ["npm ci && npm start", "npm ci && npm test"]);
  });

  const needed = ["mosquitto_pub", "mosquitto_sub"].filter((name) => read("README.md").includes(name));
  const absent = needed.filter((name) => !commandExists(name));
  const skip = absent.length > 0 && `${absent.join(" and ")} not installed`;

  it("has commands that work as they stand", { skip, timeout: 120_000 }, async (t) => {
    const clone = makeClone();
    t.after(() => rmSync(clone, { recursive: true, force: true }));
    const port = await freePort();
    configureDefaults(clone, port);
    const servers: { started: ReturnType<typeof shell>; end: Promise<number> }[] = [];
    t.after(() => {
      for (const { started } of servers)
        if (started.child.pid !== undefined) send(-started.child.pid, "SIGKILL");
    });
    assert.ok(blocks.length > 1);
    for (const fence of blocks) {
      const [language, , argument] = fence.info;
      if (language === "yaml") {
        writeFileSync(join(clone, argument ?? ""), fence.text);
        continue;
      }
      const started = shell(fence, clone, port);
      const end = ended(started.child);
      if (argument === "server") {
        servers.push({ started, end });
        await untilItSays(" is running.", started);
      } else {
        assert.equal(
          await end,
          argument === "refused" ? 1 : 0,
          `README.md:${fence.line}\n${started.output()}`,
        );
      }
    }
    for (const { started, end } of servers) assert.equal(await end, 0, started.output());
  });
});
