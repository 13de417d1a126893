import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { PasswordQueue } from "./password-queue.ts";

/** A job that ends when told to. */
function job() {
  const { promise, resolve } = Promise.withResolvers<string>();
  return { run: () => promise, end: resolve };
}

describe("the queue of password checks", () => {
  it("runs some at once, lets some wait, and turns the rest away at once", async () => {
    const queue = new PasswordQueue({ runningMax: 2, waitingMax: 1, waitMsMax: 1_000 }, () => 0);
    const jobs = [job(), job(), job(), job()];
    const results = jobs.map(({ run }) => queue.run(run));
    assert.equal(await results[3], "busy");
    assert.equal(queue.refusedCount, 1);
    assert.equal(queue.waitingCount, 1);
    jobs.forEach(({ end }, index) => end(`done ${index}`));
    assert.deepEqual(await Promise.all(results), ["done 0", "done 1", "done 2", "busy"]);
  });

  it("turns away what has waited too long, unworked", async () => {
    let nowMs = 0;
    const queue = new PasswordQueue({ runningMax: 1, waitingMax: 9, waitMsMax: 1_000 }, () => nowMs);
    const first = job();
    const started: string[] = [];
    const start = (name: string) =>
      queue.run(() => {
        started.push(name);
        return Promise.resolve(name);
      });
    const results = [queue.run(first.run), start("early"), start("early too")];
    nowMs = 900;
    results.push(start("late"));
    nowMs = 1_100;
    first.end("first");
    assert.deepEqual(await Promise.all(results), ["first", "busy", "busy", "late"]);
    assert.deepEqual(started, ["late"]);
    assert.equal(queue.refusedCount, 2);
    assert.equal(await start("next"), "next");
  });

  it("goes on after a job that failed", async () => {
    const queue = new PasswordQueue({ runningMax: 1, waitingMax: 1, waitMsMax: 1_000 }, () => 0);
    const failed = queue.run(() => Promise.reject(new Error("no memory")));
    const next = queue.run(() => Promise.resolve("done"));
    await assert.rejects(failed, /no memory/);
    assert.equal(await next, "done");
    assert.equal(await queue.run(() => Promise.resolve("again")), "again");
  });
});
