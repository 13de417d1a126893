import assert from "node:assert/strict";
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { takeLock } from "./lock-file.ts";

/** No process has this number on Linux, where they end below 4,194,304. */
const nobody = "4194304\n";

/** Takes the lock whenever it is told to, and gives it back when it is told again. */
const contender = `
import { takeLock } from ${JSON.stringify(new URL("./lock-file.ts", import.meta.url).href)};
let release;
process.on("message", ({ path }) => {
  if (path === undefined) { release?.(); release = undefined; process.send("free"); return; }
  const result = takeLock(path);
  if (result.kind === "taken") ({ release } = result);
  process.send(result.kind);
});
process.send("ready");
`;

let directory = "";
let children: ChildProcess[] = [];

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "postern-lock-"));
  const script = join(directory, "contender.mjs");
  writeFileSync(script, contender);
  const { NODE_TEST_CONTEXT: _own, ...env } = process.env;
  children = Array.from({ length: 4 }, () => fork(script, { execArgv: [], env }));
  await answers(children);
});

after(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(directory, { recursive: true });
});

async function answers(from: readonly ChildProcess[]): Promise<unknown[]> {
  const messages = await Promise.all(from.map((child) => once(child, "message")));
  return messages.map(([message]) => message);
}

function ask(message: { readonly path?: string }): Promise<unknown[]> {
  const answered = answers(children);
  for (const child of children) child.send(message);
  return answered;
}

describe("a lock in a file", { timeout: 60_000 }, () => {
  it("is had by one process at a time, also when several find one that was left over", async () => {
    for (let round = 0; round < 20; round += 1) {
      const path = join(directory, `lock-${round}`);
      if (round % 2 === 0) writeFileSync(path, nobody);
      const found = await ask({ path });
      assert.equal(found.filter((kind) => kind === "taken").length, 1, found.join());
      assert.equal(takeLock(path).kind, "in-use");
      await ask({});
    }
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.startsWith("lock")),
      [],
    );
  });

  it("is free again when it is released, and not taken twice by one process", () => {
    const path = join(directory, "own");
    const first = takeLock(path);
    assert.ok(first.kind === "taken");
    assert.deepEqual(takeLock(path), { kind: "in-use", pid: process.pid });
    first.release();
    const second = takeLock(path);
    assert.ok(second.kind === "taken");
    second.release();
  });

  it("is taken over from a process that had our number, or wrote nothing that is one", () => {
    for (const left of [`${process.pid}\n`, "", "nonsense"]) {
      const path = join(directory, "left");
      writeFileSync(path, left);
      const result = takeLock(path);
      assert.ok(result.kind === "taken", left);
      result.release();
    }
  });
});
