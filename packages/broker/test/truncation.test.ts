import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { decodeConnect } from "@postern/mqtt/connect";
import { createFrame, readFrame } from "@postern/mqtt/frame";
import { PacketType, type ProtocolVersion } from "@postern/mqtt/packets";
import { createPublishView, decodePublish } from "@postern/mqtt/publish";
import { MemorySessionStore } from "@postern/store/memory-session-store";

import type { BrokerSnapshot } from "../src/snapshot.ts";
import { request, subscribePacket } from "../src/testing/packets.ts";
import { type Sample, samplePackets } from "./harness/sample-packets.ts";
import { nextTurn, Stage } from "./harness/stage.ts";

/** Connections that are open at the same time. */
const atOnce = 32;
/** No UTF-8, no packet type, no length: whatever it fills up is malformed, but for binary data. */
const garbage = Buffer.alloc(300, 0xff);

type Ending = "is closed by the client" | "goes on with garbage";

/** Whether the cut packet with garbage in the place of its end is a packet after all: garbage is good binary data. */
function isWhole(version: ProtocolVersion, { type, bytes }: Sample, cut: number): boolean {
  const filled = Buffer.concat([bytes.subarray(0, cut), garbage]);
  const frame = createFrame();
  readFrame(filled, 0, filled.length, Infinity, frame, version);
  if (type === PacketType.connect)
    return decodeConnect(filled, frame.bodyStart, frame.bodyEnd).kind === "value";
  return (
    type === PacketType.publish && decodePublish(filled, frame, version, createPublishView()) === undefined
  );
}

async function sendCut(
  stage: Stage<MemorySessionStore>,
  version: ProtocolVersion,
  { type, bytes }: Sample,
  { cut, ending, name }: { readonly cut: number; readonly ending: Ending; readonly name: string },
): Promise<void> {
  const isConnect = type === PacketType.connect;
  const client = isConnect ? stage.stranger(version) : await stage.client(name, version);
  client.send(bytes.subarray(0, cut));
  if (ending === "goes on with garbage") client.send(garbage);
  else client.wire.end();
  await client.wire.closed;
  // A CONNECT whose protocol level became garbage is answered as MQTT 3.1.1 demands.
  if (!isConnect) assert.equal(client.unreadable, undefined);
}

/** Every cut of every packet of the version, on connections of their own; how many there were. */
async function sendAllCut(
  stage: Stage<MemorySessionStore>,
  version: ProtocolVersion,
  ending: Ending,
): Promise<number> {
  const cases = samplePackets(version).flatMap((sample) =>
    Array.from({ length: sample.bytes.length - 1 }, (_, index) => ({ sample, cut: index + 1 })),
  );
  const meant = cases.filter(
    ({ sample, cut }) => ending === "is closed by the client" || !isWhole(version, sample, cut),
  );
  const open = new Set<Promise<void>>();
  for (const [index, { sample, cut }] of meant.entries()) {
    const done = sendCut(stage, version, sample, { cut, ending, name: `cut-${index}` });
    open.add(done);
    void done.finally(() => open.delete(done)).catch(() => {});
    if (open.size >= atOnce) await Promise.race(open);
  }
  await Promise.all(open);
  return meant.length;
}

/** Everything but what has been counted. */
function state({ counters, ...rest }: BrokerSnapshot): Omit<BrokerSnapshot, "counters"> {
  assert.ok(counters.packetsReceived > 0);
  return rest;
}

describe("a packet that is cut off", () => {
  for (const ending of ["is closed by the client", "goes on with garbage"] as const) {
    for (const version of [3, 4, 5] as const) {
      it(`has no effect where the connection ${ending} (version ${version}, every packet, every byte)`, async (t) => {
        await using stage = await Stage.open(new MemorySessionStore());
        const witness = await stage.client("witness", 5);
        witness.send(subscribePacket(5, 1, [request("#", 2)]));
        await witness.take("suback");
        await stage.flushed();
        const before = stage.broker.snapshot();

        const count = await sendAllCut(stage, version, ending);
        t.diagnostic(`${count} connections`);
        assert.ok(count > 80);
        while (stage.broker.snapshot().connections > 1) await nextTurn();
        await witness.ping();
        assert.deepEqual(witness.received, []);
        await stage.flushed();
        assert.deepEqual(state(stage.broker.snapshot()), state(before));
        assert.deepEqual([[...stage.store.loadSessions()], [...stage.store.loadWills()]], [[], []]);
      });
    }
  }
});
