import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { connect, type TLSSocket } from "node:tls";

import { encodeConnect } from "@postern/mqtt/connect";
import { encodeDisconnect } from "@postern/mqtt/control";
import { noProperties } from "@postern/mqtt/packets";

import type { RunningListener } from "../src/listeners/listener.ts";
import type { Peer } from "../src/ports.ts";
import { connectPacket, HandClient } from "../src/testing/hand-client.ts";
import { ackPacket, publishPacket, request, subscribePacket } from "../src/testing/packets.ts";
import { passWithTwoThreads } from "./support/pass-with-two-threads.ts";
import { selfSigned } from "./support/self-signed.ts";
import { client, closing, start } from "./support/broker-of-two-threads.ts";

/** So many that none of two threads is left without one: the kernel throws a coin for each. */
const manyCount = 24;
const pubrel = 6;
const sessionTakenOver = 0x8e;
const administrativeAction = 0x98;

function clients(port: number, name: string, count = manyCount): Promise<HandClient[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => client(port, `${name}-${index}`)));
}

async function until(done: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!done()) {
    assert.ok(performance.now() < deadline, `gave up waiting for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Publishes at each QoS by turns, each message once the one before was acknowledged. */
async function publishSeries(from: HandClient, topic: string, count: number): Promise<void> {
  for (let index = 1; index <= count; index += 1) {
    for (const qos of [0, 1, 2] as const) {
      const packetId = qos === 0 ? 0 : index;
      from.send(publishPacket(5, { topic: `${topic}/${qos}`, payload: `${index}`, qos, packetId }));
      if (qos === 1) await from.take("puback");
      if (qos !== 2) continue;
      await from.take("pubrec");
      from.send(ackPacket(pubrel, packetId));
      await from.take("pubcomp");
    }
  }
}

describe("with two threads", () => {
  it("clients of both reach each other: everything once, and in order (MQTT 5.0 §4.6)", async () => {
    const opened = start();
    const { broker } = opened;
    const { port } = await opened.listen();
    const publishers = await clients(port, "publisher", 8);
    const subscribers = await clients(port, "subscriber", 8);
    for (const [index, subscriber] of subscribers.entries()) {
      subscriber.send(subscribePacket(5, 1, [request("series/#", index % 2 === 0 ? 0 : 2)]));
      await subscriber.take("suback");
    }
    const count = 5;
    await Promise.all(publishers.map((from, index) => publishSeries(from, `series/${index}`, count)));
    const all = publishers.length * count * 3;
    for (const subscriber of subscribers) {
      await subscriber.until(
        () => subscriber.received.filter(({ kind }) => kind === "publish").length >= all,
        "all messages",
      );
      await subscriber.ping();
      const byTopic = new Map<string, string[]>();
      for (const packet of subscriber.received) {
        if (packet.kind !== "publish") continue;
        const seen = byTopic.get(packet.topic) ?? [];
        byTopic.set(packet.topic, [...seen, packet.payload.toString()]);
      }
      assert.equal(byTopic.size, publishers.length * 3);
      for (const seen of byTopic.values()) assert.deepEqual(seen, ["1", "2", "3", "4", "5"]);
    }
    assert.equal(broker.snapshot().clientsConnected, 16);
  });

  it("large messages arrive whole, at clients of both", async () => {
    const opened = start();
    const { port } = await opened.listen();
    const subscribers = await clients(port, "reader", 8);
    for (const subscriber of subscribers) {
      subscriber.send(subscribePacket(5, 1, [request("large", 1)]));
      await subscriber.take("suback");
    }
    const payload = Buffer.alloc(900_000);
    for (let index = 0; index < payload.length; index += 4) payload.writeUInt32BE(index, index);
    const digest = createHash("sha256").update(payload).digest("hex");
    for (const publisher of await clients(port, "writer", 4)) {
      publisher.send(publishPacket(5, { topic: "large", payload, qos: 1, packetId: 1 }));
      await publisher.take("puback");
    }
    for (const subscriber of subscribers) {
      for (let count = 0; count < 4; count += 1) {
        const got = await subscriber.take("publish");
        assert.equal(createHash("sha256").update(got.payload).digest("hex"), digest);
        subscriber.send(ackPacket(4, got.packetId));
      }
    }
  });

  it("limits count the connections of both", async () => {
    const opened = start({ limits: { connectionsMax: 10 } });
    const { broker, events } = opened;
    const listener = await opened.listen();
    const sockets = Array.from({ length: manyCount }, () => connectTcp(listener.port, "127.0.0.1"));
    let cut = 0;
    for (const socket of sockets) {
      socket.on("error", () => {});
      socket.once("close", () => (cut += 1));
    }
    await until(() => cut === manyCount - 10, "the rest to be cut");
    await until(() => listener.connectionCount === 10, "the count of the listener");
    assert.equal(broker.snapshot().connections, 10);
    assert.equal(events.filter(({ detail }) => detail.startsWith("connectionsMax")).length, 1);
    for (const socket of sockets) socket.destroy();
    await until(() => broker.snapshot().connections === 0, "all to be gone");
    assert.equal(listener.connectionCount, 0);
  });

  it("one client id has one connection, wherever it is (MQTT 5.0 [MQTT-3.1.4-3])", async () => {
    const opened = start({ limits: { takeOversPerMinuteMax: 0 } });
    const { port } = await opened.listen();
    let before = await client(port, "same");
    for (let round = 0; round < 12; round += 1) {
      const next = await client(port, "same");
      assert.equal((await before.take("disconnect")).reasonCode, sessionTakenOver);
      before = next;
    }
    await before.ping();
  });

  it("who takes its leave and comes back at once has taken its leave: no will, no take-over (MQTT 5.0 §3.14.4)", async () => {
    const opened = start();
    const { port } = await opened.listen();
    const witness = await client(port, "witness");
    witness.send(subscribePacket(5, 1, [request("will", 1)]));
    await witness.take("suback");
    const packet = connectPacket("restless", 5, {
      will: { topic: "will", payload: Buffer.from("?"), qos: 1, retain: false, properties: noProperties },
    });
    for (let round = 0; round < 40; round += 1) {
      const restless = await HandClient.connected({ host: "127.0.0.1", port }, packet);
      restless.send(encodeDisconnect(5, { reasonCode: 0, properties: noProperties }));
    }
    await witness.ping();
    assert.deepEqual(witness.received, []);
    assert.equal(opened.broker.snapshot().counters.sessionsTakenOver, 0);
  });

  it("an identity that is trusted no more loses its connections in both at once", async () => {
    const opened = start({
      ports: {
        authenticator: {
          exchange: () => undefined,
          authenticate: ({ clientId }) => ({
            kind: "accepted",
            identity: { name: clientId.split("-")[0] ?? "", anonymous: false },
            untilMs: Infinity,
          }),
        },
      },
    });
    const { port } = await opened.listen();
    const lamps = await clients(port, "lamp");
    const pump = await client(port, "pump-1");
    assert.equal(opened.broker.endSessionsOf("lamp", administrativeAction), manyCount);
    for (const lamp of lamps) {
      assert.equal((await lamp.take("disconnect")).reasonCode, administrativeAction);
      await lamp.wire.closed;
    }
    await pump.ping();
  });

  it("a client that does not read keeps neither the others waiting nor more than its share of memory", async () => {
    const opened = start({ limits: { outboundBytesMax: 262_144 } });
    const { broker } = opened;
    const { port } = await opened.listen();
    const [publisher, ...readers] = await clients(port, "client", 7);
    assert.ok(publisher !== undefined);
    const lazy = connectTcp(port, "127.0.0.1");
    closing.push(async () => void lazy.destroy());
    lazy.write(encodeConnect(connectPacket("lazy", 5)));
    await once(lazy, "data");
    lazy.write(subscribePacket(5, 1, [request("flood", 0)]));
    await once(lazy, "data");
    lazy.pause();
    let got = 0;
    for (const reader of readers) {
      reader.keeps = (packet) => {
        if (packet.kind === "publish") got += 1;
        return packet.kind !== "publish";
      };
      reader.send(subscribePacket(5, 1, [request("flood", 0)]));
      await reader.take("suback");
    }
    const message = publishPacket(5, { topic: "flood", payload: Buffer.alloc(16_384) });
    const count = 600;
    for (let sent = 1; sent <= count; sent += 1) {
      publisher.send(message);
      // Those who read have the time to.
      if (sent % 4 === 0) await until(() => got === sent * readers.length, "all that readers get");
    }
    const { outboundBytes, counters } = broker.snapshot();
    assert.ok(counters.publishDropped > 0, "nothing was dropped for the one that does not read");
    assert.ok(outboundBytes < 2 * 262_144, `${outboundBytes} bytes wait`);
  });

  it("a port that somebody else listens on is not shared with them", async () => {
    const first = await start().listen();
    const second = start();
    await assert.rejects(
      second.broker.listen({
        name: "second",
        kind: "mqtt",
        host: "127.0.0.1",
        port: first.port,
        anonymous: true,
        confidential: true,
        limits: {},
        tls: undefined,
      }),
      { code: "EADDRINUSE" },
    );
  });
});

const device = selfSigned();

interface SecureStage {
  readonly listener: RunningListener;
  readonly peers: Peer[];
  serverPem: string;
}

async function secureStage(): Promise<SecureStage> {
  const peers: Peer[] = [];
  const { broker } = start({
    ports: {
      authenticator: {
        exchange: () => undefined,
        authenticate: ({ peer }) => {
          peers.push(peer);
          return { kind: "accepted", identity: { name: "device", anonymous: false }, untilMs: Infinity };
        },
      },
    },
  });
  const stage = { peers, serverPem: selfSigned() };
  const listener = await broker.listen({
    name: "secure",
    kind: "mqtts",
    host: "127.0.0.1",
    port: 0,
    anonymous: false,
    confidential: true,
    limits: {},
    tls: () => ({
      context: { cert: stage.serverPem, key: stage.serverPem },
      requestCertificate: true,
      staple: () => Buffer.from("an OCSP answer"),
    }),
    resumption: { tickets: true, ids: false, seconds: 3_600 },
  });
  return Object.assign(stage, { listener });
}

/** One connection that comes as far as CONNACK. */
async function visit(
  { listener }: SecureStage,
  session?: Buffer,
): Promise<{ readonly socket: TLSSocket; readonly tickets: Buffer[]; readonly stapled: Buffer | undefined }> {
  const socket = connect({
    host: "127.0.0.1",
    port: listener.port,
    rejectUnauthorized: false,
    requestOCSP: true,
    cert: device,
    key: device,
    session,
  });
  const tickets: Buffer[] = [];
  let stapled: Buffer | undefined;
  socket.on("session", (ticket: Buffer) => tickets.push(ticket));
  socket.on("OCSPResponse", (answer: Buffer | null) => (stapled = answer ?? undefined));
  closing.push(async () => void socket.destroy());
  await once(socket, "secureConnect");
  socket.write(encodeConnect(connectPacket("", 5)));
  await once(socket, "data");
  return { socket, tickets, stapled };
}

function shown({ socket }: { readonly socket: TLSSocket }): string {
  return socket.getPeerX509Certificate()?.fingerprint256 ?? "";
}

function fingerprint(pem: string): string {
  return new X509Certificate(pem).fingerprint256;
}

describe("TLS with two threads", () => {
  it("the first thread learns each client's certificate, and both staple an answer", async () => {
    const stage = await secureStage();
    const visits = await Promise.all(Array.from({ length: manyCount }, () => visit(stage)));
    assert.equal(stage.peers.length, manyCount);
    const { raw } = new X509Certificate(device);
    for (const peer of stage.peers) {
      assert.deepEqual(Buffer.from(peer.certificate ?? []), raw);
      assert.equal(peer.certificateError, "DEPTH_ZERO_SELF_SIGNED_CERT");
      assert.equal(peer.address, "127.0.0.1");
    }
    for (const { stapled } of visits) assert.equal(stapled?.toString(), "an OCSP answer");
  });

  it("both show a new certificate once it is there", async () => {
    const stage = await secureStage();
    assert.equal(shown(await visit(stage)), fingerprint(stage.serverPem));
    stage.serverPem = selfSigned();
    stage.listener.reloadTls();
    const fresh = fingerprint(stage.serverPem);
    // The other thread is told by a message, which is there before a connection that is made after it.
    const visits = await Promise.all(Array.from({ length: manyCount }, () => visit(stage)));
    for (const each of visits) assert.equal(shown(each), fresh);
  });

  it("a session that began in one is taken up in both, until tickets are dropped in both", async () => {
    const stage = await secureStage();
    const { tickets } = await visit(stage);
    const [ticket] = tickets;
    assert.ok(ticket !== undefined);
    const again = await Promise.all(Array.from({ length: manyCount }, () => visit(stage, ticket)));
    for (const { socket } of again) assert.ok(socket.isSessionReused());
    stage.listener.dropTickets();
    const dropped = await Promise.all(Array.from({ length: manyCount }, () => visit(stage, ticket)));
    for (const { socket } of dropped) assert.ok(!socket.isSessionReused());
    const { raw } = new X509Certificate(device);
    for (const { certificate } of stage.peers) assert.deepEqual(Buffer.from(certificate ?? []), raw);
  });
});

describe("a thread that dies", () => {
  it("ends the whole process: nobody goes on with half of the clients", async () => {
    const support = join(import.meta.dirname, "support");
    const args = ["--import", join(support, "dying-carrier.ts"), join(support, "two-threads.ts")];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    closing.push(async () => void child.kill("SIGKILL"));
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
    const [code] = await once(child, "exit");
    assert.notEqual(code, 0);
    assert.match(errors, /this thread was to die/);
  });
});

/** What is most likely to suffer from a second thread; the whole suite is in `workers-conformance.slow.test.ts`. */
const chapters = ["4.1-sessions", "4.3-quality-of-service", "4.5-receipt-and-order", "6-websocket"];

describe("the conformance suite", () => {
  it("passes with two threads where messages, their order and sessions are concerned", async () => {
    await passWithTwoThreads(chapters.map((name) => `conformance/${name}.test.ts`));
  });
});
