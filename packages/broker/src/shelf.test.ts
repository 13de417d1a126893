import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Run, Shelves } from "./shelf.ts";

function textOf(run: Run): string {
  const bytes = Buffer.alloc(run.bytes);
  run.copyTo(bytes);
  return bytes.toString();
}

describe("packets on a shelf", () => {
  it("that follow each other are one part, and others parts of their own, in order", () => {
    const shelves = new Shelves();
    const [a, b, c, d] = ["aa", "b", "ccc", "d"].map((text) => shelves.place(Buffer.from(text), undefined));
    assert.ok(a !== undefined && b !== undefined && c !== undefined && d !== undefined);
    const all = new Run(a);
    for (const placed of [b, c, d]) assert.ok(all.add(placed));
    assert.deepEqual(all.ranges, [0, 7]);
    assert.equal(textOf(all), "aabcccd");
    const some = new Run(a);
    for (const placed of [c, d, b]) assert.ok(some.add(placed));
    assert.deepEqual(some.ranges, [0, 2, 3, 7, 2, 3]);
    assert.equal(textOf(some), "aacccdb");
  });

  it("are placed once on each, and stay for as long as a run names them", () => {
    const shelves = new Shelves();
    const packet = Buffer.alloc(30_000, "p");
    const first = shelves.place(packet, undefined);
    assert.equal(shelves.place(packet, first), first);
    const run = new Run(first);
    for (let more = 0; more < 2; more += 1) shelves.place(packet, undefined);
    const next = shelves.place(packet, first);
    assert.notEqual(next.shelf, first.shelf);
    assert.equal(run.add(next), false);
    assert.equal(textOf(run), packet.toString());
    run.release();
    assert.throws(() => new Run(first), /memory is held that was given back/);
  });

  it("are too many to be named one by one when there are hundreds of parts", () => {
    const shelves = new Shelves();
    const placed = Array.from({ length: 1_000 }, () => shelves.place(Buffer.from("12"), undefined));
    const [first] = placed;
    assert.ok(first !== undefined);
    const run = new Run(first);
    const added = placed
      .filter((_, index) => index % 2 === 0)
      .slice(1)
      .filter((each) => run.add(each));
    assert.ok(added.length < 300);
    assert.equal(run.bytes, (added.length + 1) * 2);
  });
});
