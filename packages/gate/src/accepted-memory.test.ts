import assert from "node:assert/strict";
import { appendFileSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { acceptCounter, judgeCounter } from "@postern/knock/spa1/replay-window";

import { AcceptedMemory } from "./accepted-memory.ts";
import { temporaryDirectory } from "./testing/test-gate.ts";

const nowMs = 1_795_418_364_000;

function open(path: string, isNew = false, atMs = nowMs): AcceptedMemory {
  return new AcceptedMemory(path, { isNew, nowMs: () => atMs });
}

function accept(memory: AcceptedMemory, device: string, counter: number, keyVersion = 1): void {
  memory.put(device, keyVersion, acceptCounter(memory.get(device, keyVersion), counter));
}

describe("the memory of accepted knocks", () => {
  it("is whole in a new gate, and knows after a restart what was flushed", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    {
      await using memory = open(path, true);
      assert.equal(memory.lostAtMs, undefined);
      for (const counter of [5, 9, 7]) accept(memory, "pump", counter);
      assert.ok(memory.add("digest", nowMs + 1_000));
      await memory.flush();
    }
    assert.equal(statSync(path).mode & 0o777, 0o600);
    await using again = open(path);
    assert.equal(again.lostAtMs, undefined);
    const state = again.get("pump", 1);
    assert.deepEqual(
      [5, 6, 7, 8, 9, 10].map((counter) => judgeCounter(state, counter)),
      ["replayed", "fresh", "replayed", "fresh", "replayed", "fresh"],
    );
    assert.ok(again.has("digest"));
    await using later = open(path, false, nowMs + 1_000);
    assert.ok(!later.has("digest"));
  });

  it("has everything on disk when flush resolves, however many wait for it", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    await using memory = open(path, true);
    await Promise.all(
      Array.from({ length: 200 }, async (_, number) => {
        accept(memory, `device-${number}`, 1);
        if (number % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
        await memory.flush();
        assert.match(readFileSync(path, "utf8"), new RegExp(`"device-${number}"`));
      }),
    );
  });

  it("cuts off a line that a crash tore, which never counted", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    {
      await using memory = open(path, true);
      accept(memory, "pump", 5);
    }
    appendFileSync(path, '00000000 {"c":["valve",1,7');
    await using again = open(path);
    assert.equal(again.lostAtMs, undefined);
    assert.equal(judgeCounter(again.get("pump", 1), 5), "replayed");
    assert.equal(again.get("valve", 1), undefined);
  });

  it("says that it is lost when the file is gone or damaged, keeps saying so, and puts the damaged one aside", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    {
      await using memory = open(path);
      assert.equal(memory.lostAtMs, nowMs);
      accept(memory, "pump", 5);
      accept(memory, "valve", 6);
    }
    const text = readFileSync(path, "utf8");
    for (const damaged of [
      "",
      "x",
      text.replace("pump", "pomp"),
      text.replace("postern", "nretsop"),
      "\n".repeat(5),
    ]) {
      writeFileSync(path, damaged);
      await using memory = open(path, true, nowMs + 7);
      assert.equal(memory.lostAtMs, nowMs + 7, JSON.stringify(damaged));
      assert.equal(memory.get("valve", 1), undefined);
      await using again = open(path, false, nowMs + 9);
      assert.equal(again.lostAtMs, nowMs + 7);
    }
    assert.ok(readdirSync(directory.path).some((name) => name.includes(".damaged-")));
  });

  it("accepts nothing any more under a key version that was replaced", async () => {
    using directory = temporaryDirectory();
    await using memory = open(join(directory.path, "accepted"), true);
    accept(memory, "pump", 5);
    assert.equal(memory.get("pump", 2), undefined);
    accept(memory, "pump", 1, 2);
    for (const counter of [4, 6, Number.MAX_SAFE_INTEGER]) {
      assert.notEqual(judgeCounter(memory.get("pump", 1), counter), "fresh");
    }
  });

  it("is written anew when most of the file is no longer needed", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    {
      await using memory = open(path, true);
      for (let counter = 0; counter < 10_100; counter++) accept(memory, "pump", counter);
      await memory.flush();
      assert.ok(statSync(path).size < 1_000);
      accept(memory, "pump", 20_000);
      await memory.flush();
    }
    await using again = open(path);
    assert.equal(again.lostAtMs, undefined);
    assert.equal(judgeCounter(again.get("pump", 1), 20_000), "replayed");
  });

  it("fails to flush, and goes on, when the disk does not take it", async () => {
    using directory = temporaryDirectory();
    await using memory = open(join(directory.path, "accepted"), true);
    const other = join(directory.path, "not-there", "accepted");
    assert.throws(() => open(other, true), { code: "GATE_STATE" });
    accept(memory, "pump", 1);
    await memory.flush();
  });
});
