import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { openLmdbSessionStore } from "../src/open-lmdb-session-store.ts";
import { load, readAll } from "../src/testing/fixtures.ts";
import { countRows, temporaryDirectory } from "../src/testing/lmdb-under-test.ts";
import { GROUPS_KEPT, groupSize, MARKER, SESSIONS, topicOf } from "./crash-groups.ts";

const runs = Number(process.env["POSTERN_CRASH_RUNS"] ?? 5);
const killAfterMsMax = 150;

const script = fileURLToPath(new URL("./crash-writer.ts", import.meta.url));

describe("a store whose process is killed", () => {
  it(
    `has every group that was done, and every group whole (${runs} kills)`,
    { timeout: 3_600_000 },
    async () => {
      const directory = temporaryDirectory();
      let groups = 0;
      for (let run = 0; run < runs; run += 1) {
        const done = await writeUntilKilled(directory);
        const last = await verify(directory);
        assert.ok(last >= done, `group ${done} was done, but only ${last} is there`);
        assert.ok(last > groups, "the writer wrote nothing");
        groups = last;
      }
      rmSync(directory, { recursive: true });
    },
  );
});

/** @returns the last group that the writer called done. */
async function writeUntilKilled(directory: string): Promise<number> {
  const writer = spawn(process.execPath, [script, directory], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise<string | null>((resolve) =>
    writer.once("exit", (_code, signal) => resolve(signal)),
  );
  let done = 0;
  const lines = createInterface({ input: writer.stdout });
  const linesEnded = new Promise((resolve) => lines.once("close", resolve));
  const firstLine = new Promise<void>((resolve) => {
    lines.on("line", (line) => {
      done = Math.max(done, Number(line));
      resolve();
    });
  });
  await Promise.race([firstLine, exited]);
  await delay(randomInt(killAfterMsMax));
  writer.kill("SIGKILL");
  assert.equal(await exited, "SIGKILL");
  await linesEnded;
  return done;
}

/** @returns the last group in the store, after proving that it and those before are as they must be. */
async function verify(directory: string): Promise<number> {
  const store = await openLmdbSessionStore({ directory });
  const marker = [...store.loadRetained()].find(({ topic }) => topic === MARKER);
  const last = marker === undefined ? 0 : Number(Buffer.from(marker.payload).toString());
  const expected: string[] = [];
  for (let group = Math.max(1, last - GROUPS_KEPT + 1); group <= last; group += 1) {
    for (let index = 0; index < groupSize(group); index += 1) expected.push(topicOf(group, index));
  }
  for (const number of SESSIONS) {
    assert.deepEqual(
      readAll(store, number).map(({ message }) => message?.topic),
      expected,
    );
    assert.equal(load(store, number)?.queuedCount, expected.length);
  }
  await store.close();
  assert.equal((await countRows(directory)).bodies, expected.length, "bodies were left behind");
  return last;
}
