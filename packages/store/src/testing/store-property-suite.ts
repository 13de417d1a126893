import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";

import { QueueState } from "@postern/core/session-store";
import * as fc from "fast-check";

import {
  dump,
  entry,
  message,
  plainEntry,
  readAll,
  session,
  type StoreUnderTest,
  subscription,
  will,
} from "./fixtures.ts";
import {
  changeEntry,
  changeSession,
  dumpModel,
  emptyModel,
  type StoreModel,
  without,
  withEntry,
  withoutSession,
  withSession,
} from "./store-model.ts";

const small = fc.nat({ max: 5 });
const text = fc.constantFrom("a", "a/b", "é", "x".repeat(300), "y".repeat(2000));
const bytes = fc.constantFrom(0, 10, 1000, 1100, 5000);

/** Numbers choose among what is there when the operation is carried out, so that every history is possible. */
const operation = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("putSession" as const), which: small }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("deleteSession" as const), which: small }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("putSubscription" as const), which: small, text }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("deleteSubscription" as const), which: small, text }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("putInbound" as const), which: small, packetId: small }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("deleteInbound" as const), which: small, packetId: small }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("publish" as const),
      text,
      bytes,
      targets: fc.uniqueArray(small, { maxLength: 4 }),
      sent: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("markSent" as const), which: small, entry: fc.nat() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("markReleased" as const), which: small, entry: fc.nat() }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("dequeue" as const), which: small, entry: fc.nat() }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("putRetained" as const), text, bytes }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("deleteRetained" as const), text }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("putWill" as const), which: small, text }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("deleteWill" as const), which: small }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("putAccepted" as const), text, bytes }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("deleteAccepted" as const), text }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("read" as const), which: small, from: small, count: small }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("commit" as const), wait: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("crash" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;

/** Random histories, with crashes and restarts, against the model. */
export function storePropertySuite(options: {
  readonly open: () => Promise<StoreUnderTest>;
  readonly propertyRuns: number;
}): void {
  describe("any history", () => {
    it(
      "leaves what the model says, before and after crashes and restarts",
      { timeout: 600_000 },
      async () => {
        const property = fc.asyncProperty(
          fc.array(operation, { maxLength: 80, size: "max" }),
          async (operations) => {
            const history = new History(await options.open());
            try {
              for (const one of operations) await history.run(one);
              await history.end();
            } finally {
              await history.tested.dispose();
            }
          },
        );
        await fc.assert(property, { numRuns: options.propertyRuns, endOnFailure: true });
      },
    );
  });
}

class History {
  tested: StoreUnderTest;
  #model: StoreModel = emptyModel;
  /** What a crash may leave: the model at the last commit that is done, and at each one asked for since. */
  #possible: StoreModel[] = [emptyModel];

  constructor(tested: StoreUnderTest) {
    this.tested = tested;
  }

  async run(one: Operation): Promise<void> {
    if (one.kind === "commit") {
      await this.#commit(one.wait);
    } else if (one.kind === "read") {
      this.#read(one);
    } else if (one.kind === "crash") {
      this.tested = await this.tested.crash();
      this.#model = this.#found();
    } else if (one.kind === "reopen") {
      this.tested = await this.tested.reopen();
      this.#possible = [this.#model];
      this.#model = this.#found();
    } else {
      this.#model = append(this.tested.store, this.#model, one);
    }
  }

  async end(): Promise<void> {
    for (const number of this.#model.sessions.keys()) this.#check(number, readAll(this.tested.store, number));
    await this.#commit(true);
    this.tested = await this.tested.crash();
    this.#found();
    const bodies = new Set([...this.#model.sessions.values()].flatMap(({ queue }) => queue.map(bodyOf)));
    bodies.delete(undefined);
    assert.equal(await this.tested.bodyCount(), bodies.size);
  }

  async #commit(wait: boolean): Promise<void> {
    const asked = this.#model;
    this.#possible.push(asked);
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const { store } = this.tested;
    store.commit((error) => {
      assert.equal(error, undefined);
      // Done: what was before it can no longer come back.
      const index = this.#possible.indexOf(asked);
      if (index > 0) this.#possible.splice(0, index);
      resolve(undefined);
    });
    if (wait) await promise;
  }

  /** The one of the possible models that the store, just opened, agrees with. */
  #found(): StoreModel {
    const found = dump(this.tested.store);
    const match = this.#possible.findLast((model) => isDeepStrictEqual(dumpModel(model), found));
    if (match === undefined) assert.deepEqual(found, dumpModel(this.#possible.at(-1) ?? emptyModel));
    const model = match ?? emptyModel;
    this.#possible = [model];
    return model;
  }

  #read(one: { readonly which: number; readonly from: number; readonly count: number }): void {
    const number = pick([...this.#model.sessions.keys()], one.which);
    if (number === undefined) return;
    const range = { fromPosition: one.from * 3, countMax: one.count * 2, bytesMax: Infinity };
    const expected = (this.#model.sessions.get(number)?.queue ?? [])
      .filter(({ position }) => position >= range.fromPosition)
      .slice(0, range.countMax);
    assert.deepEqual(this.tested.store.readQueue(number, range).map(plainEntry), expected.map(plainEntry));
  }

  #check(number: number, read: ReturnType<typeof readAll>): void {
    assert.deepEqual(read.map(plainEntry), (this.#model.sessions.get(number)?.queue ?? []).map(plainEntry));
  }
}

type Append = Exclude<Operation, { readonly kind: "commit" | "crash" | "reopen" | "read" }>;

/** Carries one append out on the store. @returns the model with the same change. */
function append(store: StoreUnderTest["store"], model: StoreModel, one: Append): StoreModel {
  if (one.kind === "publish") return publish(store, model, one);
  if (one.kind === "putRetained") {
    const body = message(one.text, Buffer.alloc(one.bytes, 1));
    store.putRetained(body);
    return { ...model, retained: new Map(model.retained).set(one.text, body) };
  }
  if (one.kind === "deleteRetained") {
    store.deleteRetained(one.text);
    return { ...model, retained: without(model.retained, one.text) };
  }
  if (one.kind === "putAccepted") {
    const state = Buffer.alloc(one.bytes, 3);
    store.putAccepted({ sender: one.text, state });
    return { ...model, accepted: new Map(model.accepted).set(one.text, state) };
  }
  if (one.kind === "deleteAccepted") {
    store.deleteAccepted(one.text);
    return { ...model, accepted: without(model.accepted, one.text) };
  }
  const numbers = [...model.sessions.keys()];
  if (one.kind === "putSession") {
    const number = numbers[one.which] ?? store.nextSessionNumber();
    const value = { ...session(`client ${numbers.length}`), expirySeconds: one.which };
    store.putSession(number, value);
    return withSession(model, number, value);
  }
  const number = pick(numbers, one.which);
  return number === undefined ? model : appendTo(store, model, number, one);
}

type SessionAppend = Exclude<
  Append,
  {
    readonly kind:
      | "publish"
      | "putRetained"
      | "deleteRetained"
      | "putAccepted"
      | "deleteAccepted"
      | "putSession";
  }
>;

function appendTo(
  store: StoreUnderTest["store"],
  model: StoreModel,
  number: number,
  one: SessionAppend,
): StoreModel {
  switch (one.kind) {
    case "deleteSession":
      store.deleteSession(number);
      return withoutSession(model, number);
    case "putSubscription":
      store.putSubscription(number, one.text, subscription);
      return changeSession(model, number, ({ subscriptions }) => ({
        subscriptions: new Map(subscriptions).set(one.text, subscription),
      }));
    case "deleteSubscription":
      store.deleteSubscription(number, one.text);
      return changeSession(model, number, ({ subscriptions }) => ({
        subscriptions: without(subscriptions, one.text),
      }));
    case "putInbound":
      store.putInbound(number, one.packetId + 1);
      return changeSession(model, number, ({ inbound }) => ({
        inbound: new Set(inbound).add(one.packetId + 1),
      }));
    case "deleteInbound":
      store.deleteInbound(number, one.packetId + 1);
      return changeSession(model, number, ({ inbound }) => ({
        inbound: new Set([...inbound].filter((packetId) => packetId !== one.packetId + 1)),
      }));
    case "putWill":
      store.putWill(number, will(one.text));
      return { ...model, wills: new Map(model.wills).set(number, will(one.text)) };
    case "deleteWill":
      store.deleteWill(number);
      return { ...model, wills: without(model.wills, number) };
    case "markSent":
    case "markReleased":
    case "dequeue":
      return changeQueue(store, model, number, one);
    default:
      return one satisfies never;
  }
}

function changeQueue(
  store: StoreUnderTest["store"],
  model: StoreModel,
  number: number,
  one: { readonly kind: "markSent" | "markReleased" | "dequeue"; readonly entry: number },
): StoreModel {
  const chosen = pick(model.sessions.get(number)?.queue ?? [], one.entry);
  if (chosen === undefined) return model;
  const { position, state } = chosen;
  const packetId = (position % 100) + 1;
  if (one.kind === "dequeue") {
    store.dequeue(number, position);
    return changeEntry(model, { number, position }, () => undefined);
  }
  if (one.kind === "markSent") {
    store.markSent(number, position, packetId);
    if (state === QueueState.released) return model;
    return changeEntry(model, { number, position }, (old) => ({ ...old, state: QueueState.sent, packetId }));
  }
  if (state !== QueueState.sent) return model;
  store.markReleased(number, position);
  return changeEntry(model, { number, position }, (old) => ({
    ...old,
    state: QueueState.released,
    message: null,
  }));
}

function publish(
  store: StoreUnderTest["store"],
  model: StoreModel,
  one: Extract<Operation, { readonly kind: "publish" }>,
): StoreModel {
  const body = message(one.text, Buffer.alloc(one.bytes, 2));
  const messageNumber = store.addMessage(body);
  let changed = model;
  for (const target of one.targets) {
    const number = [...model.sessions.keys()][target];
    const position = model.sessions.get(number ?? 0)?.nextPosition;
    if (number === undefined || position === undefined) continue;
    const state = one.sent ? QueueState.sent : QueueState.queued;
    const added = entry(position, messageNumber, {
      state,
      packetId: one.sent ? 7 : 0,
      qos: 2,
      retain: one.sent,
    });
    store.enqueue(number, added);
    changed = withEntry(changed, number, added, body);
  }
  return changed;
}

function bodyOf(loaded: {
  readonly messageNumber: number;
  readonly message: object | null;
}): number | undefined {
  return loaded.message === null ? undefined : loaded.messageNumber;
}

function pick<Value>(values: readonly Value[], index: number): Value | undefined {
  return values.length === 0 ? undefined : values[index % values.length];
}
