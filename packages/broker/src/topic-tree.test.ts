import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { matchesFilter } from "@postern/mqtt/topics";
import * as fc from "fast-check";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { BrokerContext } from "./context.ts";
import { defaultLimits } from "./limits.ts";
import { Session } from "./session.ts";
import type { Subscription } from "./subscription.ts";
import { openBrokerPorts } from "./testing/open-broker.ts";
import { TopicCache } from "./topic-cache.ts";

function sessions(count: number): { readonly list: readonly Session[]; readonly close: () => void } {
  const context = new BrokerContext(openBrokerPorts(new MemorySessionStore()), {
    limits: defaultLimits,
    responseInformation: undefined,
    serverReference: undefined,
    version: "test",
  });
  const list = Array.from({ length: count }, (_, number) => {
    return new Session(context, {
      number,
      clientId: `c${number}`,
      identity: { name: "", anonymous: true },
      protocolVersion: 5,
      expirySeconds: 0,
      limits: defaultLimits,
      queue: undefined,
    });
  });
  return { list, close: () => context.wheel.close() };
}

function subscription(
  session: Session,
  filter: string,
  options: Partial<Subscription["options"]> = {},
  shareName?: string,
): Subscription {
  return {
    session,
    key: shareName === undefined ? filter : `$share/${shareName}/${filter}`,
    filter,
    shareName,
    options: {
      qos: 0,
      noLocal: false,
      retainAsPublished: false,
      retainHandling: 0,
      identifier: 0,
      ...options,
    },
  };
}

const level = fc.constantFrom("a", "b", "", "$x", "c1");
const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join("/"));
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant("+")), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([levels, multi]) => [...levels, ...(multi ? ["#"] : [])].join("/"))
  .filter((text) => text !== "");

describe("TopicTree", () => {
  it("matches exactly what MQTT 5.0 §4.7 says, with filters coming and going", () => {
    const { list, close } = sessions(1);
    const session = list[0];
    assert.ok(session !== undefined);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(filter, fc.boolean()), { maxLength: 20 }),
        fc.array(
          topic.filter((text) => text !== ""),
          { minLength: 1, maxLength: 8 },
        ),
        (changes, topics) => {
          const cache = new TopicCache();
          const present = new Map<string, Subscription>();
          const check = () => {
            for (const text of topics) {
              const expected = [...present.keys()].filter((key) => matchesFilter(key, text)).sort();
              const { targets } = cache.matchOf(cache.byText(text));
              const found = targets.flatMap((target) => target.subscriptions.map(({ key }) => key)).sort();
              assert.deepEqual(found, expected);
            }
          };
          for (const [text, remove] of changes) {
            const known = present.get(text);
            if (remove && known !== undefined) {
              cache.tree.remove(known);
              present.delete(text);
            } else if (known === undefined) {
              const added = subscription(session, text);
              cache.tree.add(added);
              present.set(text, added);
            }
            check();
          }
          for (const known of present.values()) cache.tree.remove(known);
          present.clear();
          check();
          assert.equal(cache.tree.count, 0);
        },
      ),
      { numRuns: 300 },
    );
    close();
  });

  it("merges a session's overlapping subscriptions: highest QoS, all identifiers, RETAIN if any wants it (MQTT 5.0 §3.3.4)", () => {
    const { list, close } = sessions(2);
    const [first, second] = list;
    assert.ok(first !== undefined && second !== undefined);
    const { tree } = new TopicCache();
    tree.add(subscription(first, "a/b", { qos: 0, identifier: 1 }));
    tree.add(subscription(first, "a/+", { qos: 2, identifier: 2, retainAsPublished: true }));
    tree.add(subscription(first, "#", { qos: 1 }));
    tree.add(subscription(second, "a/#", { qos: 1, identifier: 9 }));
    const { targets } = tree.match("a/b");
    assert.equal(targets.length, 2);
    const merged = targets.find(({ session }) => session === first);
    assert.deepEqual(
      [merged?.qos, merged?.retainAsPublished, merged?.identifiers.toSorted()],
      [2, true, [1, 2]],
    );
    close();
  });

  it("keeps shared subscriptions apart by share name and filter (MQTT 5.0 §4.8.2)", () => {
    const { list, close } = sessions(3);
    const [one, two, three] = list;
    assert.ok(one !== undefined && two !== undefined && three !== undefined);
    const { tree } = new TopicCache();
    const leaving = subscription(one, "a/#", {}, "g");
    tree.add(leaving);
    tree.add(subscription(two, "a/#", {}, "g"));
    tree.add(subscription(three, "a/#", {}, "h"));
    assert.deepEqual(
      tree.match("a/x").groups.map(({ members }) => members.length),
      [2, 1],
    );
    tree.remove(leaving);
    assert.deepEqual(
      tree.match("a/x").groups.map(({ members }) => members.length),
      [1, 1],
    );
    close();
  });
});

describe("the cache of who is subscribed to a topic", () => {
  it("stays bounded with many topics and many subscribers, and its answers right", () => {
    const cache = new TopicCache();
    const { list, close } = sessions(1_000);
    for (const session of list) cache.tree.add(subscription(session, "#"));
    let most = 0;
    for (let index = 0; index < 1_000; index += 1) {
      const match = cache.matchOf(cache.byText(`t/${index}`));
      assert.equal(match.targets.length, 1_000);
      most = Math.max(most, cache.subscriptionCount);
    }
    assert.ok(most > 200_000, `nothing was remembered to speak of: ${most}`);
    assert.ok(most <= 262_144, `${most} subscriptions are remembered`);
    for (const session of list) cache.tree.add(subscription(session, "t/1"));
    assert.equal(cache.matchOf(cache.byText("t/1")).targets[0]?.subscriptions.length, 2);
    close();
  });

  it("counts nothing twice while subscriptions come and go", () => {
    const cache = new TopicCache();
    const { list, close } = sessions(10);
    const entry = cache.byText("t");
    for (const session of list) {
      const exact = subscription(session, "t");
      cache.tree.add(exact);
      cache.matchOf(entry);
      const wild = subscription(session, "+");
      cache.tree.add(wild);
      assert.equal(cache.matchOf(entry).targets.length, 1);
      cache.tree.remove(wild);
      cache.matchOf(entry);
      assert.equal(cache.subscriptionCount, 1);
      cache.tree.remove(exact);
    }
    assert.equal(cache.matchOf(entry).targets.length, 0);
    assert.equal(cache.subscriptionCount, 0);
    close();
  });
});
