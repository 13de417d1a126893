import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { encodeConnect } from "@postern/mqtt/connect";
import { pingreqBytes } from "@postern/mqtt/control";
import { PacketType } from "@postern/mqtt/packets";
import { ReasonCode } from "@postern/mqtt/reason-codes";

import {
  ackPacket,
  publishPacket,
  request,
  subscribePacket,
  unsubscribePacket,
} from "../src/testing/packets.ts";
import { connectPacket, durableConnect, type HandClient } from "../src/testing/hand-client.ts";
import { ControlledStore } from "./harness/controlled-store.ts";
import { openBroker } from "../src/testing/open-broker.ts";
import type { Received } from "../src/testing/wire-client.ts";
import { nextTurn, Stage } from "./harness/stage.ts";

const { pubrec, pubrel } = PacketType;

/** A broker whose disk waits for the test. */
function openGated(): Promise<Stage<ControlledStore>> {
  return Stage.open(new ControlledStore(), {
    beforeClose: (store) => {
      store.mend();
      store.releaseAll();
    },
  });
}

function kinds(client: HandClient): string[] {
  return client.received.map(({ kind }) => kind);
}

function payloads(packets: readonly Received[]): string[] {
  return packets.flatMap((packet) => (packet.kind === "publish" ? [packet.payload.toString()] : []));
}

async function subscribed(client: HandClient, filter: string, qos: 0 | 1 | 2): Promise<void> {
  client.send(subscribePacket(client.wire.version, 60_000, [request(filter, qos)]));
  await client.take("suback");
}

/** The server has handled all that `sender` sent, and whatever it means to send at once has arrived everywhere. */
async function handled(
  stage: Stage<ControlledStore>,
  packetsReceived: number,
  bystander: HandClient,
): Promise<void> {
  let pings = 0;
  for (; stage.broker.counters().packetsReceived < packetsReceived + pings; pings += 1)
    await bystander.ping();
  await bystander.ping();
  await bystander.ping();
}

interface GateCase {
  readonly name: string;
  /** Brings the sender to the point where `packet` is due, with the disk working. */
  readonly before?: (sender: HandClient, receiver: HandClient) => Promise<void>;
  readonly packet: (version: 4 | 5) => Buffer;
  /** What the sender is answered once the disk is done. */
  readonly answer: Received["kind"];
}

const topic = "gate/topic";

async function hasReceived(sender: HandClient, receiver: HandClient): Promise<void> {
  sender.send(publishPacket(sender.wire.version, { topic, payload: "x", qos: 2, packetId: 7 }));
  await sender.take("pubrec");
  await receiver.take("publish");
}

const gateCases: readonly GateCase[] = [
  {
    name: "PUBACK of a message for a durable session",
    packet: (version) => publishPacket(version, { topic, payload: "x", qos: 1, packetId: 7 }),
    answer: "puback",
  },
  {
    name: "PUBREC of a message for a durable session",
    packet: (version) => publishPacket(version, { topic, payload: "x", qos: 2, packetId: 7 }),
    answer: "pubrec",
  },
  {
    name: "PUBREC of a message that nobody gets: its packet id must not be forgotten",
    packet: (version) => publishPacket(version, { topic: "nobody", payload: "x", qos: 2, packetId: 7 }),
    answer: "pubrec",
  },
  {
    name: "PUBACK of a retained message",
    packet: (version) =>
      publishPacket(version, { topic: "retained", payload: "x", qos: 1, packetId: 7, retain: true }),
    answer: "puback",
  },
  { name: "PUBCOMP", before: hasReceived, packet: () => ackPacket(pubrel, 7), answer: "pubcomp" },
  {
    name: "SUBACK",
    packet: (version) => subscribePacket(version, 7, [request("a/#", 1)]),
    answer: "suback",
  },
  {
    name: "UNSUBACK",
    before: (sender) => subscribed(sender, "a/#", 1),
    packet: (version) => unsubscribePacket(version, 7, ["a/#"]),
    answer: "unsuback",
  },
];

describe("an answer that promises durability waits until the promise is on disk", () => {
  for (const version of [4, 5] as const) {
    for (const { name, before, packet, answer } of gateCases) {
      it(`${name} (MQTT ${version === 4 ? "3.1.1" : "5.0"})`, async () => {
        await using stage = await openGated();
        const bystander = await stage.client("bystander", version);
        const receiver = await stage.durable("receiver", version);
        const sender = await stage.durable("sender", version);
        await subscribed(receiver, topic, 2);
        await before?.(sender, receiver);
        receiver.received.length = 0;

        stage.store.hold();
        const { packetsReceived } = stage.broker.snapshot().counters;
        sender.send(packet(version));
        await handled(stage, packetsReceived + 1, bystander);
        assert.deepEqual(kinds(sender), []);
        assert.deepEqual(kinds(receiver), []);
        assert.ok(stage.broker.snapshot().outboundBytes > 0, "nothing is held");

        stage.store.releaseAll();
        await sender.take(answer);
      });
    }
  }
});

describe("a CONNACK waits until what it says is on disk", () => {
  it("says that a new session will be kept", async () => {
    await using stage = await openGated();
    const bystander = await stage.client("bystander", 5);
    stage.store.hold();
    const { packetsReceived } = stage.broker.snapshot().counters;
    const newcomer = stage.stranger(5);
    newcomer.send(encodeConnect(durableConnect("newcomer", 5)));
    await handled(stage, packetsReceived + 1, bystander);
    assert.deepEqual(kinds(newcomer), []);
    stage.store.releaseAll();
    await newcomer.take("connack");
  });

  it("says that a kept session was forgotten, also to a client whose new session is not kept", async () => {
    for (const version of [4, 5] as const) {
      await using stage = await openGated();
      const bystander = await stage.client("bystander", version);
      const first = await stage.durable("device", version);
      await stage.cut(first);
      stage.store.hold();
      const { packetsReceived } = stage.broker.snapshot().counters;
      const second = stage.stranger(version);
      second.send(encodeConnect(connectPacket("device", version)));
      await handled(stage, packetsReceived + 1, bystander);
      assert.deepEqual(kinds(second), [], "a crash now would bring the session back");
      stage.store.releaseAll();
      await second.take("connack");
    }
  });

  it("waits for an earlier attempt to forget the session that was never answered", async () => {
    await using stage = await openGated();
    const bystander = await stage.client("bystander", 4);
    await stage.cut(await stage.durable("device", 4));
    stage.store.hold();
    for (const attempt of [1, 2]) {
      const { packetsReceived } = stage.broker.snapshot().counters;
      const device = stage.stranger(4);
      device.send(encodeConnect(connectPacket("device", 4)));
      await handled(stage, packetsReceived + 1, bystander);
      assert.deepEqual(kinds(device), [], `attempt ${attempt}: a crash now would bring the session back`);
      await device[Symbol.asyncDispose]();
      await bystander.ping();
    }
  });

  it("does not wait where nothing is kept", async () => {
    await using stage = await openGated();
    stage.store.hold();
    await stage.client("fleeting", 5);
    assert.equal(stage.store.waitingCount, 0);
  });
});

describe("a delivery to a durable session waits until it is on disk", () => {
  for (const qos of [1, 2] as const) {
    it(`PUBLISH with QoS ${qos}, at once and after a reconnect`, async () => {
      await using stage = await openGated();
      const bystander = await stage.client("bystander", 5);
      const sender = await stage.client("sender", 5);
      const receiver = await stage.durable("receiver", 5);
      await subscribed(receiver, topic, qos);
      stage.store.hold();
      const { packetsReceived } = stage.broker.snapshot().counters;
      sender.send(publishPacket(5, { topic, payload: "now", qos, packetId: 1 }));
      await handled(stage, packetsReceived + 1, bystander);
      assert.deepEqual(kinds(receiver), []);
      stage.store.releaseAll();
      assert.equal((await receiver.take("publish")).payload.toString(), "now");

      // Cut before it acknowledged; another message comes while it is away.
      await stage.cut(receiver);
      sender.send(publishPacket(5, { topic, payload: "later", qos, packetId: 2 }));
      await sender.ping();
      stage.store.hold();
      const back = stage.stranger(5);
      const before = stage.broker.snapshot().counters.packetsReceived;
      back.send(encodeConnect(durableConnect("receiver", 5)));
      await handled(stage, before + 1, bystander);
      assert.deepEqual(kinds(back), []);
      stage.store.releaseAll();
      assert.equal((await back.take("connack")).sessionPresent, true);
      await back.until(() => back.received.length === 2, "both messages");
      assert.deepEqual(payloads(back.received), ["now", "later"]);
      assert.deepEqual(
        back.received.map((packet) => packet.kind === "publish" && packet.dup),
        [true, false],
      );
    });
  }

  it("PUBREL, which lets the receiver forget the packet id", async () => {
    await using stage = await openGated();
    const bystander = await stage.client("bystander", 5);
    const receiver = await stage.durable("receiver", 5);
    await subscribed(receiver, topic, 2);
    bystander.send(publishPacket(5, { topic, payload: "x", qos: 2, packetId: 1 }));
    const { packetId } = await receiver.take("publish");
    stage.store.hold();
    const { packetsReceived } = stage.broker.snapshot().counters;
    receiver.send(ackPacket(pubrec, packetId));
    await handled(stage, packetsReceived + 1, bystander);
    assert.deepEqual(kinds(receiver), []);
    // Asked again before the commit, the answer still waits.
    receiver.send(ackPacket(pubrec, packetId));
    await handled(stage, packetsReceived + 2, bystander);
    assert.deepEqual(kinds(receiver), []);
    stage.store.releaseAll();
    await receiver.until(() => receiver.received.length === 2, "PUBREL twice");
    assert.deepEqual(kinds(receiver), ["pubrel", "pubrel"]);
  });
});

describe("what waits for the disk leaves in order", () => {
  it("answers, pongs and deliveries of many turns come as they were caused (MQTT 5.0 §4.6)", async () => {
    await using stage = await openGated();
    const bystander = await stage.client("bystander", 5);
    const sender = await stage.client("sender", 5);
    const device = await stage.durable("device", 5);
    await subscribed(device, topic, 1);
    stage.store.hold();
    let { packetsReceived } = stage.broker.snapshot().counters;
    const turn = async (sender: HandClient, packet: Buffer): Promise<void> => {
      sender.send(packet);
      packetsReceived += 1;
      await handled(stage, packetsReceived, bystander);
      packetsReceived = stage.broker.snapshot().counters.packetsReceived;
    };
    await turn(device, publishPacket(5, { topic: "else", payload: "", qos: 2, packetId: 1 }));
    await turn(device, pingreqBytes);
    await turn(sender, publishPacket(5, { topic, payload: "one", qos: 1, packetId: 1 }));
    await turn(device, subscribePacket(5, 2, [request("x")]));
    await turn(sender, publishPacket(5, { topic, payload: "none", qos: 0 }));
    await turn(device, ackPacket(pubrel, 1));
    await turn(sender, publishPacket(5, { topic, payload: "two", qos: 1, packetId: 2 }));
    assert.deepEqual(kinds(device), []);
    assert.equal(stage.store.waitingCount, 5, "the turns were not committed one by one");

    // One group after the other: never anything of a group that is not on disk.
    const caused = ["pubrec", "pingresp", "publish", "suback", "publish", "pubcomp", "publish"];
    for (const countMax of [2, 3, 5, 6, 7]) {
      stage.store.release(1);
      await bystander.ping();
      assert.deepEqual(kinds(device), caused.slice(0, device.received.length));
      assert.ok(device.received.length <= countMax);
    }
    await device.until(() => device.received.length === caused.length, "everything");
    assert.deepEqual(kinds(device), caused);
    assert.deepEqual(payloads(device.received), ["one", "none", "two"]);
    await stage.flushed();
  });

  it("does not have those wait who asked for nothing durable", async () => {
    await using stage = await openGated();
    const receiver = await stage.durable("durable", 5);
    await subscribed(receiver, topic, 1);
    const reader = await stage.client("reader", 4);
    await subscribed(reader, "fast/#", 2);
    const writer = await stage.client("writer", 4);
    const blocked = await stage.client("blocked", 4);
    stage.store.hold();
    blocked.send(publishPacket(4, { topic, payload: "x", qos: 1, packetId: 1 }));
    for (const qos of [0, 1, 2] as const) {
      writer.send(publishPacket(4, { topic: "fast/1", payload: `${qos}`, qos, packetId: qos }));
      assert.equal((await reader.take("publish")).payload.toString(), `${qos}`);
    }
    await writer.take("puback");
    await writer.take("pubrec");
    assert.deepEqual(kinds(blocked), [], "its message is not on disk");
    assert.equal(stage.store.waitingCount, 1);
  });
});

describe("a client that comes back before the commit", () => {
  it("is not told that its repeated QoS 2 message is safe before it is", async () => {
    await using stage = await openGated();
    const bystander = await stage.client("bystander", 5);
    const receiver = await stage.durable("receiver", 5);
    await subscribed(receiver, topic, 2);
    const sender = await stage.durable("sender", 5);
    stage.store.hold();
    let { packetsReceived } = stage.broker.snapshot().counters;
    sender.send(publishPacket(5, { topic, payload: "x", qos: 2, packetId: 7 }));
    await handled(stage, packetsReceived + 1, bystander);
    // What is held keeps its connection open on the server's side: the next one takes the session over.
    await sender[Symbol.asyncDispose]();

    packetsReceived = stage.broker.snapshot().counters.packetsReceived;
    const again = stage.stranger(5);
    again.send(encodeConnect(durableConnect("sender", 5)));
    again.send(publishPacket(5, { topic, payload: "x", qos: 2, packetId: 7, dup: true }));
    await handled(stage, packetsReceived + 2, bystander);
    assert.deepEqual(kinds(again), []);
    stage.store.releaseAll();
    await again.take("connack");
    assert.equal((await again.take("pubrec")).reasonCode, 0);
    await receiver.take("publish");
    await bystander.ping();
    assert.deepEqual(kinds(receiver), [], "routed twice");
  });
});

describe("while the data directory cannot be written", () => {
  const full = new Error("ENOSPC: no space left on device");

  it("nothing is read and nothing acknowledged; afterwards everything goes out, in order, and nothing was lost", async () => {
    await using stage = await openGated();
    const receiver = await stage.durable("receiver", 5);
    await subscribed(receiver, topic, 2);
    const sender = await stage.durable("sender", 5);
    stage.store.hold();
    const { packetsReceived } = stage.broker.snapshot().counters;
    sender.send(publishPacket(5, { topic, payload: "before", qos: 1, packetId: 1 }));
    while (stage.store.waitingCount === 0) await nextTurn();

    stage.store.fail(full);
    assert.equal(stage.broker.storeFailure, full);
    assert.equal(stage.broker.snapshot().counters.packetsReceived, packetsReceived + 1);
    const early = await stage.durable("early", 5).catch((error: unknown) => error);
    assert.ok(early instanceof Error, "a client was let in");
    sender.send(publishPacket(5, { topic, payload: "during", qos: 2, packetId: 2 }));
    for (const [version, reasonCode] of refusals) {
      const refused = stage.stranger(version);
      assert.equal((await refused.connect(durableConnect("refused", version))).reasonCode, reasonCode);
      await refused.wire.closed;
    }
    assert.deepEqual([kinds(sender), kinds(receiver)], [[], []]);

    stage.store.mend();
    await sender.take("puback");
    await sender.take("pubrec");
    await receiver.until(() => receiver.received.length === 2, "both messages");
    assert.deepEqual(payloads(receiver.received), ["before", "during"]);
    assert.equal(stage.broker.storeFailure, undefined);
    await stage.durable("welcome", 5);

    const again = openBroker({ store: stage.store.afterCrash() }).broker;
    assert.equal(again.snapshot().queuedMessages, 2, "acknowledged, and lost in a crash");
    await again.close();
  });
});

const refusals = [
  [3, ReasonCode.serverUnavailable],
  [4, ReasonCode.serverUnavailable],
  [5, ReasonCode.serverUnavailable],
] as const;
