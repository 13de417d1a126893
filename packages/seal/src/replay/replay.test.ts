import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { testNowMs, testPosition } from "../testing.ts";
import {
  claimedSendersMax,
  inScope,
  instancesMax,
  ReplayGuard,
  sendersMax,
  type MessagePlace,
} from "./replay-guard.ts";
import { ReplayWindow, windowEntries } from "./replay-window.ts";
import { retainedTopicsMax, RetainedOnce } from "./retained-once.ts";
import { reservedAhead, SequenceCounter, type CounterStore } from "./sequence-counter.ts";

function place(sequence: number, { instance = 1, sender = "a", epoch = 1 } = {}): MessagePlace {
  return { ...testPosition(sequence, instance), sender, epoch };
}

function take(guard: ReplayGuard, message: MessagePlace): string {
  const verdict = guard.judge(message);
  if (verdict === "fresh") guard.accept(message);
  return verdict;
}

describe("the replay window", () => {
  it("takes each number once, in any order, and none that fell out of it", () => {
    const numbers = fc.array(fc.oneof(fc.nat(3_000), fc.nat(2 ** 40)), { maxLength: 200 });
    fc.assert(
      fc.property(numbers, fc.nat(199), (list, restartAt) => {
        let window = new ReplayWindow();
        const accepted = new Set<number>();
        for (const [index, sequence] of list.entries()) {
          const expected =
            window.highest - sequence >= windowEntries
              ? "outside-window"
              : accepted.has(sequence)
                ? "replayed"
                : "fresh";
          assert.equal(window.judge(sequence), expected);
          if (expected === "fresh") {
            window.accept(sequence);
            accepted.add(sequence);
          }
          // What was stored at an orderly end goes on as if nothing had been.
          if (index === restartAt) window = ReplayWindow.from(window.highest, window.bits());
        }
      }),
    );
  });

  it("keeps 1,024 numbers", () => {
    const window = new ReplayWindow();
    window.accept(5_000);
    assert.equal(window.judge(5_000 - 1_023), "fresh");
    assert.equal(window.judge(5_000 - 1_024), "outside-window");
  });
});

describe("the guard against replays", () => {
  it("has a window for each sender, epoch and instance", () => {
    const guard = new ReplayGuard();
    for (const other of [{}, { sender: "b" }, { epoch: 2 }, { instance: 2 }]) {
      assert.equal(take(guard, place(7, other)), "fresh");
      assert.equal(take(guard, place(7, other)), "replayed");
    }
  });

  it("accepts nothing again after a crash, at the price of what was reserved ahead", () => {
    const guard = new ReplayGuard({ ahead: 10 });
    assert.equal(take(guard, place(100)), "fresh");
    assert.equal(guard.mustStore, true);
    const stored = guard.encode();
    for (let sequence = 101; sequence <= 110; sequence++) {
      assert.equal(take(guard, place(sequence)), "fresh");
      assert.equal(guard.mustStore, false);
    }
    take(guard, place(111));
    assert.equal(guard.mustStore, true);
    const again = ReplayGuard.decode(stored, { ahead: 10 }) ?? assert.fail();
    for (let sequence = 90; sequence <= 110; sequence++)
      assert.equal(take(again, place(sequence)), "replayed");
    assert.equal(take(again, place(111)), "fresh");
  });

  it("goes on exactly after an orderly end", () => {
    const guard = new ReplayGuard();
    for (const sequence of [1, 2, 5, 900]) take(guard, place(sequence));
    const again = ReplayGuard.decode(guard.encode({ exact: true })) ?? assert.fail();
    const verdicts = [1, 2, 3, 5, 899, 900, 901].map((sequence) => take(again, place(sequence)));
    assert.deepEqual(verdicts, ["replayed", "replayed", "fresh", "replayed", "fresh", "replayed", "fresh"]);
  });

  it("must be stored again with the next message after it was stored exactly, also with one that comes late", () => {
    const guard = new ReplayGuard();
    for (const sequence of [1, 9]) take(guard, place(sequence));
    const restarted = ReplayGuard.decode(guard.encode({ exact: true })) ?? assert.fail();
    for (const each of [guard, restarted]) {
      assert.equal(each.mustStore, false);
      assert.equal(take(each, place(5)), "fresh");
      assert.equal(each.mustStore, true);
      const again = ReplayGuard.decode(each.encode()) ?? assert.fail();
      assert.equal(take(again, place(5)), "replayed");
    }
  });

  it("remembers the newest instances of a sender, and takes nothing of older ones", () => {
    const guard = new ReplayGuard();
    for (let instance = 10; instance < 10 + instancesMax; instance++) take(guard, place(1, { instance }));
    assert.equal(take(guard, place(1, { instance: 5 })), "fresh");
    for (let instance = 20; instance < 25; instance++)
      assert.equal(take(guard, place(1, { instance })), "fresh");
    assert.equal(take(guard, place(2, { instance: 10 })), "outside-window");
    const again = ReplayGuard.decode(guard.encode()) ?? assert.fail();
    assert.equal(take(again, place(2, { instance: 10 })), "outside-window");
    assert.equal(take(again, place(1, { instance: 24 })), "replayed");
  });

  it("refuses a new sender when it can remember no more, and has room again when epochs are over", () => {
    const guard = new ReplayGuard();
    for (let number = 0; number < sendersMax; number++) take(guard, place(1, { sender: `s${number}` }));
    assert.equal(take(guard, place(1, { sender: "one more" })), "too-many-senders");
    assert.equal(take(guard, place(2, { sender: "s1" })), "fresh");
    guard.forget((epoch) => epoch > 1);
    assert.equal(take(guard, place(1, { sender: "one more", epoch: 2 })), "fresh");
  });

  it("is read back when it remembers as much as it can", () => {
    const guard = new ReplayGuard();
    for (let number = 0; number < sendersMax; number++) {
      for (let instance = 1; instance <= instancesMax; instance++)
        guard.accept(place(1, { sender: `s${number}`, instance }));
    }
    for (const exact of [false, true]) {
      const again = ReplayGuard.decode(guard.encode({ exact })) ?? assert.fail();
      assert.equal(again.size, sendersMax);
      assert.equal(take(again, place(1, { sender: "s0", instance: 1 })), "replayed");
    }
  });

  it("has room for senders that are proved when a member of a group makes up as many as it likes", () => {
    const guard = new ReplayGuard();
    const claim = (number: number): MessagePlace =>
      place(1, { sender: inScope(`s${number}`, "group levels") });
    for (let number = 0; number < claimedSendersMax; number++)
      assert.equal(take(guard, claim(number)), "fresh");
    assert.equal(take(guard, claim(claimedSendersMax)), "too-many-senders");
    assert.equal(take(guard, place(1, { sender: "panel" })), "fresh");
    const again = ReplayGuard.decode(guard.encode()) ?? assert.fail();
    assert.equal(take(again, claim(claimedSendersMax)), "too-many-senders");
    assert.equal(take(again, place(1, { sender: "panel", epoch: 2 })), "fresh");
    again.forget((epoch) => epoch > 1);
    assert.equal(take(again, place(1, { sender: inScope("s1", "group levels"), epoch: 2 })), "fresh");
  });

  it("is not read back from damaged bytes", () => {
    const guard = new ReplayGuard();
    take(guard, place(1));
    const stored = guard.encode();
    assert.equal(ReplayGuard.decode(stored.subarray(1)), undefined);
    assert.equal(ReplayGuard.decode(Buffer.alloc(0)), undefined);
    for (let byte = 0; byte < stored.length; byte++) {
      const changed = Buffer.from(stored);
      changed[byte] = (changed[byte] ?? 0) ^ 0xff;
      ReplayGuard.decode(changed);
    }
  });
});

describe("retained messages", () => {
  it("are taken once for each topic and subscription, and for so many topics", () => {
    const once = new RetainedOnce();
    for (let topic = 0; topic < retainedTopicsMax; topic++) assert.equal(once.take(`${topic}`), true);
    assert.equal(once.take("1"), false);
    assert.equal(once.take("one more"), false);
    once.begin();
    assert.equal(once.take("1"), true);
  });
});

class MemoryStore implements CounterStore {
  saved: Uint8Array | undefined;
  saves = 0;
  failing = false;

  load(): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.saved);
  }

  save(bytes: Uint8Array): Promise<void> {
    if (this.failing) return Promise.reject(new RangeError("the disk is full"));
    this.saved = Buffer.from(bytes);
    this.saves++;
    return Promise.resolve();
  }
}

let random = 0;
const counterOptions = { nowMs: testNowMs, randomBytes: (bytes: number) => Buffer.alloc(bytes, ++random) };

describe("the sequence counter", () => {
  it("never gives out a number twice, whenever it crashes, and skips at most what it reserved", async () => {
    const store = new MemoryStore();
    const given = new Set<number>();
    let highest = -1;
    for (let life = 0; life < 20; life++) {
      const counter = await SequenceCounter.open({ store, ...counterOptions, ahead: 16 });
      for (let count = 0; count < life * 3; count++) {
        const { sequence } = await counter.next();
        assert.equal(given.has(sequence), false);
        assert.ok(sequence > highest && sequence - highest <= 32);
        given.add(sequence);
        highest = sequence;
      }
    }
  });

  it("gives out no number twice where two processes have the same store, whichever ends first", async () => {
    const store = new MemoryStore();
    const given = new Set<number>();
    const take = async (counter: SequenceCounter, count: number): Promise<void> => {
      for (let taken = 0; taken < count; taken++) {
        const { sequence } = await counter.next();
        assert.equal(given.has(sequence), false, `${sequence} a second time`);
        given.add(sequence);
      }
    };
    const open = () => SequenceCounter.open({ store, ...counterOptions, ahead: 16 });
    const first = await open();
    await take(first, 3);
    const second = await open();
    await take(second, 20);
    await take(first, 40);
    await take(second, 20);
    await first.close();
    await take(await open(), 20);
    await take(second, 40);
    await second.close();
    await take(await open(), 20);
  });

  it("goes on with the next number after an orderly end", async () => {
    const store = new MemoryStore();
    const first = await SequenceCounter.open({ store, ...counterOptions });
    const positions = [await first.next(), await first.next()];
    await first.close();
    const second = await SequenceCounter.open({ store, ...counterOptions });
    positions.push(await second.next());
    assert.deepEqual(
      positions.map(({ sequence }) => sequence),
      [0, 1, 2],
    );
    assert.deepEqual(second.instance, first.instance);
  });

  it("writes once for as many messages as it reserves", async () => {
    const store = new MemoryStore();
    const counter = await SequenceCounter.open({ store, ...counterOptions });
    const all = await Promise.all(Array.from({ length: 2 * reservedAhead }, () => counter.next()));
    assert.equal(new Set(all.map(({ sequence }) => sequence)).size, 2 * reservedAhead);
    assert.ok(store.saves <= 3, `${store.saves} writes`);
  });

  it("begins a new instance when what was stored is lost or damaged, later ones behind earlier ones", async () => {
    const store = new MemoryStore();
    const first = await SequenceCounter.open({ store, ...counterOptions });
    store.saved = undefined;
    const second = await SequenceCounter.open({ store, ...counterOptions, nowMs: testNowMs + 60_000 });
    store.saved = Buffer.of(1, 2, 3);
    const third = await SequenceCounter.open({ store, ...counterOptions, nowMs: testNowMs + 120_000 });
    const volatile = SequenceCounter.volatile(testNowMs + 180_000, counterOptions.randomBytes);
    const instances = [first, second, third, volatile].map(({ instance }) => Buffer.from(instance));
    assert.deepEqual(
      instances,
      instances.toSorted((a, b) => a.compare(b)),
    );
    assert.equal(new Set(instances.map(String)).size, 4);
    assert.deepEqual([(await third.next()).sequence, (await volatile.next()).sequence], [0, 0]);
  });

  it("gives out no number that could not be reserved", async () => {
    const store = new MemoryStore();
    const counter = await SequenceCounter.open({ store, ...counterOptions, ahead: 2 });
    await counter.next();
    await counter.next();
    store.failing = true;
    await assert.rejects(counter.next(), /the disk is full/);
    store.failing = false;
    assert.equal((await counter.next()).sequence, 2);
  });
});
