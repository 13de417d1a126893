import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";

import { connectPacket, durableConnect, HandClient } from "@postern/broker/testing/hand-client";
import { ackPacket, publishPacket, request, subscribePacket } from "@postern/broker/testing/packets";

import { encodeConnect } from "@postern/mqtt/connect";

import { lasting, TestClient } from "../support/mqttjs.ts";
import { PermittedServer, roles } from "../support/permitted-server.ts";

const all = `{ topics: ["#"], allow: [publish, subscribe, will, retain, shared, persistentSession] }`;

const permissions = `${roles({ anonymous: [all], free: [all] })}
  hoarder:
    rules: [${all}]
    limits: { queuedBytesMax: 20000, sessionsMax: 2 }
  keeper:
    rules: [${all}]
    limits: { retainedMessagesMax: 3, retainedBytesMax: 1000 }
  noisy:
    rules: [${all}]
    limits: { messagesPerSecondMax: 50 }
  fleet:
    rules: [${all}]
    limits: { together: { bytesPerSecondMax: 20000 } }
`;

/** The broker's own limits are far above those of the roles, but for one reader's buffer. */
const config = `
listeners:
  - url: mqtts://127.0.0.1:0
  - url: mqtt://127.0.0.1:0
    anonymous: true
    limits: { outboundBytesMax: 1000000, receiveMaximum: 20 }
metrics: { url: off }
log: { level: error }
`;

let server: PermittedServer;
before(async () => {
  server = await PermittedServer.start(permissions, config);
  for (const role of ["hoarder", "keeper", "noisy", "free"]) await server.addDevice(role, [role]);
  for (const name of ["fleet-1", "fleet-2"]) await server.addDevice(name, ["fleet"]);
});
after(() => server[Symbol.asyncDispose]());

describe("attack 49: a session that waits for everything while its client is away", () => {
  it("holds no more than queuedBytesMax of its role over all sessions, the newest messages, and others hold theirs", async () => {
    const greedy = lasting(300);
    const second = lasting(300);
    for (const options of [greedy, second]) {
      const client = await server.connect("hoarder", options);
      await client.subscribe("#", { qos: 1 });
      await client.end();
    }
    const honest = lasting(300);
    {
      await using client = await server.connect("free", honest);
      await client.subscribe("flood/#", { qos: 1 });
      await client.end();
    }
    await using publisher = await server.connect("free");
    const sent = Array.from({ length: 60 }, (_, index) => `${index}`.padEnd(1_000, "."));
    await Promise.all(sent.map((text) => publisher.publish("flood/x", text)));
    const { queues } = await server.status();
    const held = queues.largest.filter(({ owner }) => owner === "hoarder").map(({ bytes }) => bytes);
    const sum = held.reduce((total, bytes) => total + bytes, 0);
    assert.ok(sum > 10_000 && sum <= 20_000, `${sum} bytes wait for the hoarder`);
    await using back = await server.connect("free", honest);
    assert.deepEqual(await back.texts(60), sent);
  });

  it("caps the sessions of an identity at sessionsMax of its role with 0x97", async () => {
    await assert.rejects(server.connect("hoarder", { clientId: "third" }), /[Qq]uota exceeded|151/);
    await using other = await server.connect("free", { clientId: "other" });
    await other.assertNothingMore();
  });
});

describe("attack 56: retained messages on ever new topics", () => {
  it("are refused with 0x97 beyond the count and the bytes of the role; replacing and clearing goes on", async () => {
    await using keeper = await server.connect("keeper");
    for (const topic of ["keep/1", "keep/2", "keep/3"]) await keeper.publish(topic, "x", { retain: true });
    await assert.rejects(keeper.publish("keep/4", "x", { retain: true }), /[Qq]uota|151/);
    await keeper.publish("keep/1", "new", { retain: true });
    await assert.rejects(keeper.publish("keep/1", "y".repeat(2_000), { retain: true }), /[Qq]uota|151/);
    await keeper.publish("keep/2", "", { retain: true });
    await keeper.publish("keep/4", "x", { retain: true });
    await using other = await server.connect("free");
    for (let index = 0; index < 10; index += 1) await other.publish(`other/${index}`, "x", { retain: true });
    await other.subscribe("keep/#");
    assert.deepEqual((await other.texts(3)).toSorted(), ["new", "x", "x"]);
  });
});

describe("attack 59: one client that publishes as fast as it can (noisy neighbour)", () => {
  it("is kept to the rate of its role over all its connections, while its neighbours are not slowed down", async () => {
    await using watcher = await server.connect("free");
    await watcher.subscribe("rate/noisy", { qos: 0 });
    const loud = await Promise.all([server.connect("noisy"), server.connect("noisy")]);
    const startedMs = performance.now();
    // One after the other: what is in the buffer of a socket already is read at once.
    const work = loud.map(async (client) => {
      for (let index = 0; index < 100; index += 1) await client.publish("rate/noisy", "x", { qos: 1 });
    });
    await using neighbour = await server.connect("free");
    const begunMs = performance.now();
    await Promise.all(Array.from({ length: 200 }, () => neighbour.publish("rate/free", "x", { qos: 1 })));
    const neighbourMs = performance.now() - begunMs;
    await Promise.all(work);
    const loudMs = performance.now() - startedMs;
    // 200 messages at 50 a second, one second of them at once.
    assert.ok(loudMs > 2_500, `200 messages took ${loudMs} ms`);
    assert.ok(neighbourMs < loudMs / 2, `the neighbour waited ${neighbourMs} ms`);
    await watcher.texts(200);
    for (const client of loud) await client.end();
  });

  it("is kept to what all of its role may publish together", async () => {
    await using one = await server.connect("fleet-1");
    await using two = await server.connect("fleet-2");
    const startedMs = performance.now();
    const payload = "x".repeat(1_000);
    await Promise.all(
      [one, two].flatMap((client) => Array.from({ length: 25 }, () => client.publish("rate/fleet", payload))),
    );
    // 50,000 bytes at 20,000 a second, one second of them at once.
    assert.ok(performance.now() - startedMs > 1_000);
  });
});

describe("attack 54: SUBSCRIBE with thousands of filters, deep ones, and many wildcards", () => {
  it("ends the connection for more filters than filtersPerSubscribeMax, refuses deep ones, and answers others meanwhile", async () => {
    await using many = await HandClient.connected(server.plain, connectPacket("many", 5));
    many.send(
      subscribePacket(
        5,
        1,
        Array.from({ length: 20_000 }, (_, index) => request(`t/${index}`)),
      ),
    );
    await many.wire.closed;
    await using deep = await HandClient.connected(server.plain, connectPacket("deep", 5));
    deep.send(
      subscribePacket(5, 1, [request(Array.from({ length: 300 }, () => "+").join("/")), request("ok")]),
    );
    assert.deepEqual((await deep.take("suback")).reasonCodes, [0x83, 0]);
    // Distinct filters up to the limit of the session; one more is refused.
    for (let packet = 0; packet < 2; packet += 1)
      deep.send(
        subscribePacket(
          5,
          10 + packet,
          Array.from({ length: 1_000 }, (_, index) => request(`+/${packet}/${index}/#`)),
        ),
      );
    const codes = [...(await deep.take("suback")).reasonCodes, ...(await deep.take("suback")).reasonCodes];
    assert.equal(codes.filter((code) => code === 0).length, 1_023);
    assert.equal(codes.filter((code) => code === 0x97).length, 977);
    const startedMs = performance.now();
    await using honest = await server.connect("free");
    await honest.publish("a/1/2/b/c/d/e/f/g", "x");
    assert.ok(performance.now() - startedMs < 5_000);
  });
});

describe("attack 55: QoS 2 messages that are never completed (CVE-2023-28366)", () => {
  it("ends the connection at Receive Maximum, and serves one that completes its messages for as long as it likes", async () => {
    await using storm = await HandClient.connected(server.plain, durableConnect("storm", 5));
    for (let packetId = 1; packetId <= 21; packetId += 1)
      storm.send(publishPacket(5, { topic: "storm", payload: "x", qos: 2, packetId }));
    await storm.wire.closed;
    assert.ok(storm.received.some((packet) => packet.kind === "disconnect" && packet.reasonCode === 0x93));
    await using honest = await HandClient.connected(server.plain, connectPacket("honest", 5));
    for (let packetId = 1; packetId <= 100; packetId += 1) {
      honest.send(publishPacket(5, { topic: "calm", payload: "x", qos: 2, packetId }));
      await honest.take("pubrec");
      honest.send(ackPacket(6, packetId));
      await honest.take("pubcomp");
    }
  });
});

function residentBytes(): number {
  const status = readFileSync(`/proc/${server.running.process.child.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
}

describe("attack 57: many subscribers that do not read what one publisher sends to all", () => {
  it("costs no more than outboundBytesMax for each, drops what is too slow, and delivers to whoever reads", async () => {
    const deaf: Socket[] = [];
    for (let index = 0; index < 20; index += 1) {
      const socket = connect(server.plain).pause();
      socket.on("error", () => {});
      socket.write(encodeConnect(connectPacket(`deaf-${index}`, 5)));
      socket.write(subscribePacket(5, 1, [request("wide", 0)]));
      deaf.push(socket);
    }
    await using reader = await TestClient.connect(server.plainUrl);
    await reader.subscribe("wide", { qos: 1 });
    await using publisher = await server.connect("free");
    const before = residentBytes();
    const payload = Buffer.alloc(50_000, 0x61);
    for (let index = 0; index < 200; index += 1) await publisher.publish("wide", payload, { qos: 1 });
    await reader.texts(200);
    const grown = residentBytes() - before;
    const { counters } = await server.status();
    assert.ok((counters["publishDropped"] ?? 0) > 0, "nothing was dropped");
    // 200 MB would wait for the twenty who do not read.
    assert.ok(grown < 120_000_000, `grew by ${grown} bytes`);
    for (const socket of deaf) socket.destroy();
  });
});

describe("attack 63: properties that a PUBLISH must not have, relayed to subscribers (VerneMQ #1883)", () => {
  it("are never passed on: the connection that sends them ends", async () => {
    await using subscriber = await HandClient.connected(server.plain, connectPacket("sub", 5));
    subscriber.send(subscribePacket(5, 1, [request("props/#")]));
    await subscriber.take("suback");
    // Session Expiry Interval, Assigned Client Identifier, Server Keep Alive, a Subscription Identifier, one that is unknown.
    for (const property of ["1100000001", "12000161", "13000a", "0b05", "7f01"]) {
      await using bad = await HandClient.connected(server.plain, connectPacket("bad", 5));
      const list = Buffer.from(property, "hex");
      const topic = Buffer.concat([Buffer.of(0, 7), Buffer.from("props/x")]);
      const body = Buffer.concat([topic, Buffer.of(list.length), list, Buffer.from("x")]);
      bad.send(Buffer.concat([Buffer.of(0x30, body.length), body]));
      await bad.wire.closed;
    }
    await using honest = await HandClient.connected(server.plain, connectPacket("honest", 5));
    honest.send(
      publishPacket(5, {
        topic: "props/x",
        payload: "fine",
        properties: { userProperties: [["a", "b"]], topicAlias: 1 },
      }),
    );
    const received = await subscriber.take("publish");
    assert.equal(received.payload.toString(), "fine");
    assert.deepEqual(Object.keys(received.properties), ["userProperties"]);
    assert.deepEqual(subscriber.received, []);
  });
});

describe("attack 80: what a stranger learns of the server", () => {
  it("is no version and no $SYS, and the same answer for a topic that is there and one that is not", async () => {
    await using stranger = await HandClient.connected(server.plain, connectPacket("stranger", 5));
    const filters = [
      "$SYS/broker/version",
      "$SYS/broker/uptime",
      "$SYS/nothing/there",
      "$SYS/#",
      "$SYS/+/version",
    ];
    stranger.send(
      subscribePacket(
        5,
        1,
        filters.map((filter) => request(filter)),
      ),
    );
    const { reasonCodes, properties } = await stranger.take("suback");
    assert.deepEqual(
      reasonCodes,
      filters.map(() => 0x87),
    );
    assert.deepEqual(properties, {});
    stranger.send(subscribePacket(5, 2, [request("#")]));
    await stranger.take("suback");
    await stranger.ping();
    for (const packet of stranger.received)
      assert.ok(packet.kind === "publish" && !packet.topic.startsWith("$"), packet.kind);
    await using again = new HandClient(server.plain, 5);
    const connack = await again.connect(connectPacket("again", 5));
    assert.ok(!/postern|0\.1\.0/i.test(JSON.stringify(connack)));
  });
});
