import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { StoreFullError, StoreWriteError } from "../errors.ts";
import { type ClosedGroup, CommitPipeline } from "./commit-pipeline.ts";
import type { WriteResult } from "./writer.ts";

/** Writes when it is told to, and fails when it is told to. */
class FakeWriter {
  /** First bytes of the chunks of each write that succeeded. */
  readonly written: number[][] = [];
  #underWay: { chunks: Uint8Array<ArrayBuffer>[]; done: (result: WriteResult) => void } | undefined;

  write(chunks: Uint8Array<ArrayBuffer>[], done: (result: WriteResult) => void): void {
    assert.equal(this.#underWay, undefined, "two writes at a time");
    this.#underWay = { chunks, done };
  }

  get isWriting(): boolean {
    return this.#underWay !== undefined;
  }

  /** Ends the write under way, with `error` if there is one; `keep` gives its rows back. */
  finish(error?: WriteResult["error"], keep = true): void {
    const underWay = this.#underWay;
    assert.ok(underWay !== undefined);
    this.#underWay = undefined;
    if (error === undefined) this.written.push(underWay.chunks.map((chunk) => chunk[0] ?? 0));
    underWay.done({ error, chunks: error === undefined || !keep ? undefined : underWay.chunks });
  }
}

function group(number: number): ClosedGroup {
  return { group: number, rows: Uint8Array.of(number), entries: [], bodies: [] };
}

class Trial {
  readonly writer = new FakeWriter();
  readonly settled: number[] = [];
  readonly dones: string[] = [];
  readonly pipeline = new CommitPipeline(this.writer, (groups) => {
    for (const closed of groups) this.settled.push(closed.group);
  });

  commit(number: number): void {
    this.pipeline.add(group(number));
    this.ask(number);
  }

  /** Ends the write under way and lets the commits it ends be called. */
  async finish(...how: Parameters<FakeWriter["finish"]>): Promise<void> {
    this.writer.finish(...how);
    await Promise.resolve();
  }

  ask(number: number): void {
    this.pipeline.commit((error) => {
      const code = error instanceof StoreFullError || error instanceof StoreWriteError ? error.code : "done";
      this.dones.push(`${number} ${code}`);
    });
  }
}

describe("CommitPipeline", () => {
  const full = new StoreFullError("full");

  it("writes the first group at once and those that follow together, in order", async () => {
    const trial = new Trial();
    for (const number of [1, 2, 3]) trial.commit(number);
    await trial.finish();
    assert.deepEqual(trial.dones, ["1 done"]);
    assert.equal(trial.pipeline.settledGroup, 1);
    trial.commit(4);
    await trial.finish();
    await trial.finish();
    assert.deepEqual(trial.writer.written, [[1], [2, 3], [4]]);
    assert.deepEqual(trial.dones, ["1 done", "2 done", "3 done", "4 done"]);
    assert.deepEqual(trial.settled, [1, 2, 3, 4]);
    assert.equal(trial.pipeline.isSettled, true);
  });

  it("keeps a failed group and writes it first with the next commit", async () => {
    const trial = new Trial();
    trial.commit(1);
    trial.commit(2);
    await trial.finish(full);
    assert.deepEqual(trial.dones, ["1 STORE_FULL"]);
    assert.deepEqual(trial.settled, []);
    // The second commit tries both, and fails too; then nothing is tried until someone asks.
    await trial.finish(full);
    assert.deepEqual(trial.dones, ["1 STORE_FULL", "2 STORE_FULL"]);
    assert.equal(trial.writer.isWriting, false);
    assert.equal(trial.pipeline.isSettled, false);
    trial.commit(3);
    await trial.finish();
    assert.deepEqual(trial.writer.written, [[1, 2, 3]]);
    assert.deepEqual(trial.settled, [1, 2, 3]);
    assert.deepEqual(trial.dones, ["1 STORE_FULL", "2 STORE_FULL", "3 done"]);
  });

  it("takes a commit with nothing in it for a new try after a failure, and for done otherwise", async () => {
    const trial = new Trial();
    trial.commit(1);
    await trial.finish(full);
    trial.ask(2);
    await trial.finish();
    assert.deepEqual(trial.writer.written, [[1]]);
    trial.ask(3);
    assert.deepEqual(trial.dones, ["1 STORE_FULL", "2 done"]);
    await Promise.resolve();
    assert.deepEqual(trial.dones, ["1 STORE_FULL", "2 done", "3 done"]);
  });

  it("does not call an empty commit done before what was committed earlier is", async () => {
    const trial = new Trial();
    trial.commit(1);
    trial.ask(2);
    await Promise.resolve();
    assert.deepEqual(trial.dones, []);
    await trial.finish();
    await Promise.resolve();
    assert.deepEqual(trial.dones, ["1 done", "2 done"]);
  });

  it("never calls groups done whose rows were lost with the writer", async () => {
    const trial = new Trial();
    trial.commit(1);
    await trial.finish(new StoreWriteError("the thread died"), false);
    trial.commit(2);
    await trial.finish(new StoreWriteError("the thread died"));
    assert.deepEqual(trial.dones, ["1 STORE_WRITE", "2 STORE_WRITE"]);
    assert.deepEqual(trial.settled, []);
  });

  it("starts nothing after halt, and waits for what is under way", async () => {
    const trial = new Trial();
    trial.commit(1);
    trial.commit(2);
    let isQuiet = false;
    const quiet = trial.pipeline.halt().then(() => (isQuiet = true));
    await Promise.resolve();
    assert.equal(isQuiet, false);
    await trial.finish();
    await quiet;
    assert.equal(trial.writer.isWriting, false);
    assert.deepEqual(trial.dones, ["1 done"]);
  });
});
