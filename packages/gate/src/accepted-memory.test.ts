import assert from "node:assert/strict";
import { appendFileSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { acceptCounter, judgeCounter } from "@postern/knock/spa1/replay-window";

import { AcceptedMemory } from "./accepted-memory.ts";
import { temporaryDirectory } from "./testing/test-gate.ts";

const nowMs = 1_795_418_364_000;

function open(path: string, isNew = false, atMs = nowMs, boot = "boot"): AcceptedMemory {
  return new AcceptedMemory(path, { isNew, nowMs: () => atMs, boot });
}

/** What a machine finds on its disk that lost its power now, having written all, or nothing since. */
function afterPowerLoss(path: string, text = readFileSync(path, "utf8")): AcceptedMemory {
  const copy = `${path}.copy`;
  writeFileSync(copy, text);
  return open(copy, false, nowMs, "next boot");
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

  it("is written anew, whatever is accepted meanwhile, when most of the file is no longer needed", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    {
      await using memory = open(path, true);
      for (let counter = 0; counter < 10_100; counter++) accept(memory, "pump", counter);
      for (let device = 0; device < 1_000; device++) accept(memory, `device-${device}`, 1);
      const maintained = memory.maintain();
      let held = 0;
      for (let counter = 20_000; statSync(path).size < 1_000 || statSync(path).size > 400_000; counter++) {
        accept(memory, "pump", counter);
        await memory.hold(nowMs);
        held = counter;
        await new Promise((resolve) => setImmediate(resolve));
      }
      accept(memory, "valve", held);
      await memory.hold(undefined);
      await maintained;
      await using copy = afterPowerLoss(path);
      assert.equal(judgeCounter(copy.get("pump", 1), held), "replayed");
      assert.equal(judgeCounter(copy.get("valve", 1), held), "replayed");
      assert.equal(judgeCounter(copy.get("device-999", 1), 1), "replayed");
    }
    await using again = open(path);
    assert.equal(again.lostAtMs, undefined);
    assert.notEqual(judgeCounter(again.get("pump", 1), 20_000), "fresh");
  });

  it("fails to hold, and goes on, when the disk does not take it", async () => {
    using directory = temporaryDirectory();
    await using memory = open(join(directory.path, "accepted"), true);
    const other = join(directory.path, "not-there", "accepted");
    assert.throws(() => open(other, true), { code: "GATE_STATE" });
    accept(memory, "pump", 1);
    await memory.hold(nowMs);
  });
});

describe("the reserve of the memory of accepted knocks", () => {
  it("has a packet wait for the disk only where its time is not covered", async () => {
    using directory = temporaryDirectory();
    await using memory = open(join(directory.path, "accepted"), true);
    let onDisk = false;
    accept(memory, "pump", 1);
    const flushed = memory.flush().then(() => (onDisk = true));
    // What the disk is asked takes a turn of the event loop at least, and these take none.
    for (const ms of [-60_000, 0, 20_000]) {
      accept(memory, "pump", nowMs + ms);
      await memory.hold(nowMs + ms);
    }
    assert.ok(!onDisk);
    for (const madeAtMs of [nowMs - 60_001, nowMs + 20_001, undefined]) {
      onDisk = false;
      accept(memory, "valve", 1);
      const flushedToo = memory.flush().then(() => (onDisk = true));
      await memory.hold(madeAtMs);
      await flushedToo;
      assert.ok(onDisk);
    }
    await flushed;
  });

  it("forgets nothing of a process that was killed, and is unsure of nothing", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    await using memory = open(path, true);
    accept(memory, "pump", 5);
    await memory.hold(nowMs);
    // Without an end: as the next process finds it.
    writeFileSync(`${path}.killed`, readFileSync(path));
    await using again = open(`${path}.killed`);
    assert.equal(judgeCounter(again.get("pump", 1), 5), "replayed");
    assert.ok(!again.mayHaveForgotten(nowMs));
    assert.equal(again.unsureUntilMs, undefined);
  });

  it("is unsure, after the machine lost its power, of exactly the time of which packets did not wait", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    await using memory = open(path, true);
    const before = readFileSync(path, "utf8");
    accept(memory, "pump", 5);
    await memory.hold(nowMs);
    // The line never came to the disk, or half of it did, or what is no line.
    for (const rest of ["", '00000000 {"c":["pu', "\0".repeat(300), '00000000 {"c":\n11111111\n\0\0']) {
      const text = before + rest;
      await using again = afterPowerLoss(path, text);
      assert.equal(again.lostAtMs, undefined, JSON.stringify(rest));
      assert.equal(again.get("pump", 1), undefined);
      assert.deepEqual(
        [-60_001, -60_000, 0, 20_000, 20_001].map((ms) => again.mayHaveForgotten(nowMs + ms)),
        [false, true, true, true, false],
      );
      assert.equal(again.unsureUntilMs, nowMs + 20_000);
      // It stays unsure when the gate is started again.
      const text2 = readFileSync(`${path}.copy`, "utf8");
      writeFileSync(`${path}.third`, text2);
      await using third = open(`${path}.third`, false, nowMs, "next boot");
      assert.ok(third.mayHaveForgotten(nowMs));
    }
  });

  it("is sure of everything after an orderly end, whatever became of the machine", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    {
      await using memory = open(path, true);
      accept(memory, "pump", 5);
      await memory.hold(nowMs);
    }
    await using again = afterPowerLoss(path);
    assert.ok(!again.mayHaveForgotten(nowMs));
    assert.equal(judgeCounter(again.get("pump", 1), 5), "replayed");
  });

  it("is renewed before it is used up, and when the clock is set back", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    let atMs = nowMs;
    await using memory = new AcceptedMemory(path, { isNew: true, nowMs: () => atMs, boot: "boot" });
    const first = readFileSync(path, "utf8");
    atMs += 9_000;
    await memory.maintain();
    assert.equal(readFileSync(path, "utf8"), first);
    for (const step of [2_000, -3_600_000, 7_200_000]) {
      atMs += step;
      await memory.maintain();
      await using again = afterPowerLoss(path);
      assert.deepEqual(
        [-60_001, -60_000, 20_000, 20_001].map((ms) => again.mayHaveForgotten(atMs + ms)),
        [false, true, true, false],
        `${step} ms`,
      );
    }
  });

  it("takes a line that is damaged before whole ones for a damaged file, even then", async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, "accepted");
    await using memory = open(path, true);
    accept(memory, "pump", 5);
    accept(memory, "valve", 5);
    await memory.hold(nowMs);
    await using again = afterPowerLoss(path, readFileSync(path, "utf8").replace("pump", "pomp"));
    assert.equal(again.lostAtMs, nowMs);
  });
});
