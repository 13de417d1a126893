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
    const queue = new PasswordQueue({ runningMax: 2, waitingMax: 1 });
    const jobs = [job(), job(), job(), job()];
    const [first, second, third, fourth] = jobs.map(({ run }) => queue.run(run));
    assert.equal(fourth, undefined);
    assert.equal(queue.refusedCount, 1);
    assert.equal(queue.waitingCount, 1);
    jobs.forEach(({ end }, index) => end(`done ${index}`));
    assert.deepEqual(await Promise.all([first, second, third]), ["done 0", "done 1", "done 2"]);
  });

  it("goes on after a job that failed", async () => {
    const queue = new PasswordQueue({ runningMax: 1, waitingMax: 1 });
    const failed = queue.run(() => Promise.reject(new Error("no memory")));
    const next = queue.run(() => Promise.resolve("done"));
    await assert.rejects(async () => failed, /no memory/);
    assert.equal(await next, "done");
    assert.equal(await queue.run(() => Promise.resolve("again")), "again");
  });
});
