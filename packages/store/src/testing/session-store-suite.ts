import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";

import { QueueState } from "@postern/core/session-store";

import {
  commit,
  entry,
  load,
  message,
  plainMessage,
  positions,
  queue,
  readAll,
  session,
  type StoreUnderTest,
  subscription,
  will,
} from "./fixtures.ts";
import { bodySuite } from "./body-suite.ts";
import { durabilitySuite } from "./durability-suite.ts";
import { queueSuite } from "./queue-suite.ts";
import { storePropertySuite } from "./store-property-suite.ts";

export type { StoreUnderTest } from "./fixtures.ts";

export interface SessionStoreSuiteOptions {
  /** Makes a new, empty store. */
  readonly open: () => Promise<StoreUnderTest>;
  /** Random histories to try. */
  readonly propertyRuns: number;
}

/** What every implementation of `SessionStore` must do. Called at the top of a test file. */
export function sessionStoreSuite(name: string, options: SessionStoreSuiteOptions): void {
  describe(`${name} as a session store`, () => {
    recordSuite(options.open);
    queueSuite(options.open);
    bodySuite(options.open);
    durabilitySuite(options.open);
    storePropertySuite(options);
  });
}

/** Sessions, subscriptions, inbound ids, retained messages and wills. */
function recordSuite(open: () => Promise<StoreUnderTest>): void {
  describe("records", () => {
    let tested: StoreUnderTest;
    beforeEach(async () => {
      tested = await open();
    });
    afterEach(() => tested.dispose());

    async function reopen(): Promise<void> {
      await commit(tested.store);
      tested = await tested.reopen();
    }

    it("starts empty, and gives out session numbers from 1", () => {
      assert.deepEqual([...tested.store.loadSessions()], []);
      assert.deepEqual([...tested.store.loadRetained()], []);
      assert.deepEqual([...tested.store.loadWills()], []);
      assert.equal(tested.store.nextSessionNumber(), 1);
      assert.equal(tested.store.dirty, false);
    });

    it("keeps a session with all its fields, and its last update", async () => {
      const first = { ...session("Zählér/火"), protocolVersion: 3, expirySeconds: 0xffff_ffff } as const;
      const second = {
        ...session(""),
        protocolVersion: 4,
        expirySeconds: 0,
        disconnectedAtMs: 1.5e12,
      } as const;
      tested.store.putSession(1, session("before"));
      tested.store.putSession(1, first);
      tested.store.putSession(2, second);
      await reopen();
      assert.deepEqual(load(tested.store, 1)?.session, first);
      assert.deepEqual(load(tested.store, 2)?.session, second);
    });

    it("keeps each session's subscriptions apart, with all options", async () => {
      const plain = {
        qos: 0,
        noLocal: false,
        retainAsPublished: true,
        retainHandling: 1,
        identifier: 0,
      } as const;
      tested.store.putSession(1, session());
      tested.store.putSession(2, session());
      tested.store.putSubscription(1, "a/+/#", plain);
      tested.store.putSubscription(1, "a/+/#", subscription);
      tested.store.putSubscription(1, "gone", plain);
      tested.store.putSubscription(2, "$share/g/a/+/#", plain);
      tested.store.deleteSubscription(1, "gone");
      tested.store.deleteSubscription(1, "never there");
      tested.store.deleteSubscription(9, "no such session");
      await reopen();
      assert.deepEqual(load(tested.store, 1)?.subscriptions, new Map([["a/+/#", subscription]]));
      assert.deepEqual(load(tested.store, 2)?.subscriptions, new Map([["$share/g/a/+/#", plain]]));
    });

    it("keeps the packet ids of inbound QoS 2 messages until they are released (MQTT 5.0 §4.3.3)", async () => {
      tested.store.putSession(1, session());
      for (const packetId of [1, 255, 256, 65_535]) tested.store.putInbound(1, packetId);
      tested.store.putInbound(1, 256);
      tested.store.deleteInbound(1, 255);
      tested.store.deleteInbound(1, 7);
      await reopen();
      assert.deepEqual(
        [...(load(tested.store, 1)?.inboundPacketIds ?? [])].sort((left, right) => left - right),
        [1, 256, 65_535],
      );
    });

    it("keeps the last retained message of a topic, until it is deleted (MQTT 5.0 §3.3.1.3)", async () => {
      const kept = { ...message("kept", Buffer.from("second")), qos: 2, expiresAtMs: 1.8e12 } as const;
      tested.store.putRetained(message("kept", Buffer.from("first")));
      tested.store.putRetained(kept);
      tested.store.putRetained(message("deleted"));
      tested.store.deleteRetained("deleted");
      tested.store.deleteRetained("never there");
      await reopen();
      assert.deepEqual([...tested.store.loadRetained()].map(plainMessage), [plainMessage(kept)]);
    });

    it("keeps a will with all its fields, also when its session is deleted (MQTT 5.0 §3.1.3.2)", async () => {
      const due = { ...will("last/words"), dueAtMs: 1.7e12, delaySeconds: 0xffff_ffff, retain: false };
      tested.store.putSession(1, session());
      tested.store.putSession(2, session());
      tested.store.putWill(1, will("replaced"));
      tested.store.putWill(1, due);
      tested.store.putWill(2, will("withdrawn"));
      tested.store.deleteWill(2);
      tested.store.deleteSession(1);
      await reopen();
      const wills = [...tested.store.loadWills()].map(({ number, will: loaded }) => ({
        number,
        will: { ...loaded, message: plainMessage(loaded.message) },
      }));
      assert.deepEqual(wills, [{ number: 1, will: { ...due, message: plainMessage(due.message) } }]);
    });

    it("keeps which sealed messages of a sender were accepted, and forgets it when told", async () => {
      const { store } = tested;
      assert.deepEqual([...store.loadAccepted()], []);
      store.putAccepted({ sender: "boiler", state: Buffer.from("older") });
      store.putAccepted({ sender: "boiler", state: Buffer.from("newer") });
      store.putAccepted({ sender: "gone", state: Buffer.from("x") });
      store.deleteAccepted("gone");
      store.deleteAccepted("never there");
      await reopen();
      const accepted = [...tested.store.loadAccepted()];
      assert.deepEqual(
        accepted.map(({ sender, state }) => [sender, Buffer.from(state).toString()]),
        [["boiler", "newer"]],
      );
    });

    it("takes topics, filters and client ids of 65,535 bytes, and tells them apart (MQTT 5.0 §1.5.4)", async () => {
      const long = "é".repeat(32_767) + "a";
      const other = "é".repeat(32_767) + "b";
      tested.store.putSession(1, session(long));
      for (const text of [long, other]) {
        tested.store.putSubscription(1, text, subscription);
        tested.store.putRetained(message(text, Buffer.from("payload")));
      }
      tested.store.putSubscription(1, "short", subscription);
      tested.store.deleteSubscription(1, other);
      tested.store.deleteRetained(other);
      queue(tested.store, 1, 1, message(long));
      await reopen();
      assert.equal(load(tested.store, 1)?.session.clientId, long);
      assert.deepEqual(new Set(load(tested.store, 1)?.subscriptions.keys()), new Set([long, "short"]));
      assert.deepEqual(
        [...tested.store.loadRetained()].map(({ topic }) => topic),
        [long],
      );
      assert.equal(readAll(tested.store, 1)[0]?.message?.topic, long);
    });

    it("keeps text of every script, and the characters that are hard for a key", async () => {
      const filters = [
        "日本/温度",
        "🌡/+/#",
        "a\u0001b",
        "$SYS/#",
        " ",
        "/",
        "a".repeat(256),
        "a".repeat(257),
      ];
      tested.store.putSession(1, session("𝕮𝖑𝖎𝖊𝖓𝖙"));
      for (const filter of filters) tested.store.putSubscription(1, filter, subscription);
      await reopen();
      assert.equal(load(tested.store, 1)?.session.clientId, "𝕮𝖑𝖎𝖊𝖓𝖙");
      assert.deepEqual(new Set(load(tested.store, 1)?.subscriptions.keys()), new Set(filters));
    });

    it("forgets a deleted session with everything in it, and nothing else", async () => {
      for (const number of [1, 2, 3]) {
        tested.store.putSession(number, session(`client ${number}`));
        tested.store.putSubscription(number, "f", subscription);
        tested.store.putInbound(number, 5);
        queue(tested.store, number, 1);
      }
      await commit(tested.store);
      queue(tested.store, 2, 2);
      tested.store.deleteSession(2);
      tested.store.deleteSession(2);
      assert.deepEqual(readAll(tested.store, 2), []);
      // A connection that ends late may still speak of it.
      tested.store.markSent(2, 1, 9);
      tested.store.markReleased(2, 1);
      tested.store.dequeue(2, 1);
      tested.store.deleteInbound(2, 5);
      tested.store.deleteSubscription(2, "f");
      await reopen();
      assert.deepEqual(
        [...tested.store.loadSessions()].map(({ number }) => number),
        [1, 3],
      );
      assert.equal(load(tested.store, 3)?.subscriptions.size, 1);
      assert.deepEqual(load(tested.store, 3)?.inboundPacketIds, [5]);
      assert.deepEqual(positions(readAll(tested.store, 3)), [1]);
      assert.deepEqual(readAll(tested.store, 2), []);
    });

    it("forgets a session that is deleted in the group that made it", async () => {
      tested.store.putSession(1, session());
      tested.store.putSubscription(1, "f", subscription);
      queue(tested.store, 1, 1);
      tested.store.deleteSession(1);
      await reopen();
      assert.deepEqual([...tested.store.loadSessions()], []);
      assert.equal(await tested.bodyCount(), 0);
    });

    it("never gives out a session number again, after deletion, restart and crash", async () => {
      tested.store.putSession(5, session());
      assert.equal(tested.store.nextSessionNumber(), 6);
      tested.store.deleteSession(5);
      await reopen();
      assert.equal(tested.store.nextSessionNumber(), 6);
      tested.store.putWill(8, will("a session that was never kept"));
      await commit(tested.store);
      tested.store.deleteWill(8);
      await commit(tested.store);
      tested = await tested.crash();
      assert.equal(tested.store.nextSessionNumber(), 9);
    });

    it("refuses to add to a session that is not there", () => {
      const absent = { name: "RangeError" };
      assert.throws(() => tested.store.putSubscription(1, "f", subscription), absent);
      assert.throws(() => tested.store.putInbound(1, 1), absent);
      assert.throws(() => queue(tested.store, 1, 1), absent);
      tested.store.putSession(1, session());
      tested.store.deleteSession(1);
      assert.throws(() => queue(tested.store, 1, 1), absent);
    });

    it("refuses numbers that are out of range", () => {
      for (const number of [0, -1, 1.5, Number.NaN, 2 ** 48]) {
        assert.throws(() => tested.store.putSession(number, session()), { name: "RangeError" });
      }
      tested.store.putSession(2 ** 48 - 1, session());
      const messageNumber = tested.store.addMessage(message("t"));
      for (const position of [0, -1, 1.5, 2 ** 48]) {
        assert.throws(() => tested.store.enqueue(2 ** 48 - 1, entry(position, messageNumber)), {
          name: "RangeError",
        });
      }
      assert.throws(() => tested.store.putInbound(2 ** 48 - 1, 65_536), { name: "RangeError" });
      const sent = { state: QueueState.sent, packetId: 65_536 };
      assert.throws(() => tested.store.enqueue(2 ** 48 - 1, entry(1, messageNumber, sent)), {
        name: "RangeError",
      });
    });

    it("keeps the highest numbers there are", async () => {
      const highest = 2 ** 48 - 1;
      tested.store.putSession(highest, session());
      tested.store.putInbound(highest, 65_535);
      tested.store.putSubscription(highest, "f", subscription);
      queue(tested.store, highest, highest);
      await reopen();
      tested.store.markSent(highest, highest, 65_535);
      assert.deepEqual(positions(readAll(tested.store, highest)), [highest]);
      assert.equal(readAll(tested.store, highest)[0]?.packetId, 65_535);
      assert.deepEqual(load(tested.store, highest)?.inboundPacketIds, [65_535]);
      tested.store.dequeue(highest, highest);
      await reopen();
      assert.deepEqual(readAll(tested.store, highest), []);
    });
  });
}
