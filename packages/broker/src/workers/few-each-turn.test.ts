import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FewEachTurn } from "./few-each-turn.ts";

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe("few jobs each turn", () => {
  it("are done at once, and more of them in later turns, in order", async () => {
    const few = new FewEachTurn(3);
    const done: number[] = [];
    for (let job = 1; job <= 8; job += 1) few.do(() => done.push(job));
    assert.deepEqual(done, [1, 2, 3]);
    await turn();
    assert.deepEqual(done, [1, 2, 3, 4, 5, 6]);
    few.do(() => done.push(9));
    assert.deepEqual(done, [1, 2, 3, 4, 5, 6], "whoever came before has its turn first");
    await turn();
    assert.deepEqual(done, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await turn();
    few.do(() => done.push(10));
    assert.equal(done.at(-1), 10);
    few.close();
  });

  it("that wait are not done after the end", async () => {
    const few = new FewEachTurn(1);
    const done: number[] = [];
    for (const job of [1, 2]) few.do(() => done.push(job));
    few.close();
    await turn();
    assert.deepEqual(done, [1]);
  });
});
