import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";
import { encodeDisconnect } from "@postern/mqtt/control";
import { noProperties, PacketType, type ProtocolVersion } from "@postern/mqtt/packets";

import type { BrokerSnapshot } from "../src/snapshot.ts";
import { connectPacket, HandClient } from "../src/testing/hand-client.ts";
import { ackPacket, publishPacket, request, subscribePacket } from "../src/testing/packets.ts";
import type { ShiftedClock } from "../src/testing/shifted-clock.ts";
import type { Address } from "../src/testing/wire-client.ts";
import { Stage } from "./harness/stage.ts";

const { pubrec } = PacketType;
const topic = "device/in";

interface Ending {
  readonly name: string;
  readonly versions: readonly ProtocolVersion[];
  readonly end: (device: HandClient, address: Address, clock: ShiftedClock) => Promise<void>;
}

async function cut(device: HandClient): Promise<void> {
  await device[Symbol.asyncDispose]();
}

async function startAnew(device: HandClient, address: Address): Promise<void> {
  const successor = await HandClient.connected(address, connectPacket("device", device.wire.version));
  await cut(successor);
  await cut(device);
}

async function expire(_device: HandClient, _address: Address, clock: ShiftedClock): Promise<void> {
  clock.leap(40 * 24 * 3_600_000);
}

const endings: readonly Ending[] = [
  {
    name: "DISCONNECT that sets the session expiry interval to 0",
    versions: [5],
    end: async (device) => {
      device.send(encodeDisconnect(5, { reasonCode: 0, properties: { sessionExpiryInterval: 0 } }));
      await device.wire.closed;
    },
  },
  { name: "a clean start that takes over", versions: [3, 4, 5], end: startAnew },
  {
    name: "a clean start after the connection was cut",
    versions: [3, 4, 5],
    end: async (device, address) => {
      await cut(device);
      await startAnew(device, address);
    },
  },
  {
    name: "expiry after the connection was cut",
    versions: [4, 5],
    end: async (device, address, clock) => {
      await cut(device);
      await new Promise((done) => setTimeout(done, 20));
      await expire(device, address, clock);
    },
  },
  {
    name: "a malformed packet, then expiry",
    versions: [4, 5],
    end: async (device, address, clock) => {
      device.send(Buffer.of(0xff, 0xff, 0xff, 0xff, 0xff));
      await device.wire.closed;
      await expire(device, address, clock);
    },
  },
];

/** Leaves the device with a message in every state there is: in flight, released, waiting, and one of its own. */
async function entangle(device: HandClient, peer: HandClient): Promise<void> {
  const { version } = device.wire;
  device.send(
    subscribePacket(version, 1, [request(topic, 2), request("device/#", 1), request("$share/g/device/+", 2)]),
  );
  await device.take("suback");
  for (const qos of [2, 1, 2] as const) {
    peer.send(publishPacket(peer.wire.version, { topic, payload: "x".repeat(50), qos, packetId: qos }));
  }
  await device.until(() => device.received.length >= 3, "messages in flight");
  const released = await device.take("publish");
  device.send(ackPacket(pubrec, released.packetId));
  await device.take("pubrel");
  device.send(publishPacket(version, { topic: "own", payload: "", qos: 2, packetId: 9 }));
  await device.take("pubrec");
}

function remains(snapshot: BrokerSnapshot): Record<string, number> {
  const { sessions, subscriptions, queuedMessages, queuedBytes, queuedMemoryBytes, outboundBytes, wills } =
    snapshot;
  const rest = {
    sessions,
    subscriptions,
    queuedMessages,
    queuedBytes,
    queuedMemoryBytes,
    outboundBytes,
    wills,
  };
  return Object.fromEntries(Object.entries(rest).filter(([, count]) => count !== 0));
}

describe("a session that ends leaves nothing behind, in memory or in the store", () => {
  for (const { name, versions, end } of endings) {
    for (const version of versions) {
      for (const durable of [true, false]) {
        it(`${name} (version ${version}, ${durable ? "kept" : "not kept"})`, async () => {
          if (!durable && name.includes("interval to 0")) return;
          await using stage = await Stage.open(new MemorySessionStore());
          const { address, broker, clock, store } = stage;
          const peer = await stage.client("peer", 4);
          const will = {
            topic: "gone",
            payload: Buffer.from("!"),
            qos: 1,
            retain: false,
            properties: noProperties,
          } as const;
          const given = {
            will,
            ...(version === 5 && durable
              ? { properties: { sessionExpiryInterval: 3_600, receiveMaximum: 3 } }
              : {}),
          };
          const device = await stage[durable ? "durable" : "client"]("device", version, given);
          await entangle(device, peer);

          await end(device, address, clock);
          await cut(device);
          await cut(peer);
          const deadline = performance.now() + 5_000;
          while (performance.now() < deadline && Object.keys(remains(broker.snapshot())).length > 0)
            await new Promise((done) => setTimeout(done, 10));
          assert.deepEqual(remains(broker.snapshot()), {});
          assert.deepEqual([...store.loadSessions()], []);
          assert.deepEqual([...store.loadWills()], []);
          assert.equal(store.bodyCount(), 0);
        });
      }
    }
  }
});
