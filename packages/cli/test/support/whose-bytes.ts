import assert from "node:assert/strict";
import { connect as openTcp } from "node:net";
import { connect as openTls } from "node:tls";
import { setTimeout as delay } from "node:timers/promises";

import { pingreqBytes } from "@postern/mqtt/control";
import {
  type ConnectPacket,
  noProperties,
  PacketType,
  type ProtocolVersion,
  type QoS,
} from "@postern/mqtt/packets";
import { connectPacket, durableConnect } from "@postern/broker/testing/hand-client";
import { publishPacket, request, subscribePacket } from "@postern/broker/testing/packets";
import { Random } from "@postern/broker/testing/random";
import { createWebSocketStream, WebSocket } from "ws";

import { configured } from "./configurations.ts";
import { firstBundle, scratch, type StartOptions, type TestServer, up } from "./postern.ts";
import { packetBy, payloadOf, sizeBy, topicOf, willOf } from "./signed-messages.ts";
import { type Findings, type Line, Witness } from "./witness.ts";

export interface WhoseBytesOptions {
  readonly seed: number;
  /** Threads that carry connections. */
  readonly workers: number;
  /** How long messages are sent before the server is started anew, and after it. */
  readonly seconds: number;
  readonly start?: StartOptions;
}

const listeners = (workers: number): string => `
listeners:
  - url: mqtt://127.0.0.1:0
    anonymous: true
  - url: ws://127.0.0.1:0
    anonymous: true
  - url: mqtts://127.0.0.1:0
  - url: wss://127.0.0.1:0
workers: ${workers}
limits: { connectBytesMax: 65536, takeOversPerMinuteMax: 0 }
metrics: { url: off }
est: { url: off }
`;

/** More than a sender has unanswered of QoS 1 and 2. */
const unansweredMax = 16;
const filter = "w/#";

type Open = () => Line;

/**
 * Lets clients on every transport publish messages of which each byte says whose it is, to readers that are fast, slow, away, taken
 * over, or cut off in the middle; some senders die within a packet and leave a will. Everybody looks at all they are sent, also of what
 * the server had kept when it is started anew.
 */
export async function whoseBytes(options: WhoseBytesOptions): Promise<Findings> {
  using directory = scratch();
  const args = configured(directory.path, listeners(options.workers));
  const findings: Findings = { received: 0, bytes: 0, faults: [] };
  const random = new Random(options.seed);
  // What a sender numbers goes on after a start.
  const numbers = new Map<string, number>();
  for (const round of [0, 1]) {
    await using server = await up(args, options.start);
    const crowd = new Crowd(waysTo(server), { random, findings, numbers });
    await crowd.lookAtWhatIsKept(round);
    await crowd.run(options.seconds * 1_000);
    await crowd.lookAtWhatIsKept(round);
    assert.ok(server.process.running, server.process.stderr);
    server.process.signal("SIGTERM");
    const { code, stderr } = await server.process.ended;
    assert.equal(code, 0, stderr);
  }
  return findings;
}

function placeOf(url: string): { readonly host: string; readonly port: number } {
  return { host: "127.0.0.1", port: Number(new URL(url).port) };
}

function overWebSocket(socket: WebSocket): Line {
  return { stream: createWebSocketStream(socket), reset: () => socket.terminate() };
}

/** Plain, WebSocket, TLS, WebSocket over TLS. */
function waysTo(server: TestServer): readonly Open[] {
  const [plain = "", web = "", secure = "", secureWeb = ""] = server.urls;
  const { ca, certificate, key } = firstBundle(server.data);
  const identity = { ca, cert: certificate, key };
  return [
    () => {
      const stream = openTcp(placeOf(plain));
      return { stream, reset: () => stream.resetAndDestroy() };
    },
    () => overWebSocket(new WebSocket(web, "mqtt")),
    () => {
      const socket = openTcp(placeOf(secure));
      return { stream: openTls({ socket, ...identity }), reset: () => socket.resetAndDestroy() };
    },
    () => overWebSocket(new WebSocket(secureWeb, "mqtt", identity)),
  ];
}

class Crowd {
  readonly #ways: readonly Open[];
  readonly #random: Random;
  readonly #findings: Findings;
  readonly #numbers: Map<string, number>;
  #endMs = 0;

  constructor(
    ways: readonly Open[],
    { random, findings, numbers }: { random: Random; findings: Findings; numbers: Map<string, number> },
  ) {
    this.#ways = ways;
    this.#random = random;
    this.#findings = findings;
    this.#numbers = numbers;
  }

  async run(forMs: number): Promise<void> {
    this.#endMs = performance.now() + forMs;
    const ways = this.#ways.keys();
    const all: Promise<void>[] = [];
    for (const way of ways) {
      const version = way % 2 === 0 ? 5 : 4;
      all.push(
        this.#send(`sender-${way}`, way, version),
        this.#read(`reader-${way}`, way, { version, qos: 2 }),
        this.#readSlowly(`slow-${way}`, way, version === 5 ? 4 : 5),
        this.#comeAndGo(`lasting-${way}`, way, version),
      );
    }
    for (const [index, way] of [0, 2].entries()) {
      all.push(
        this.#send(`more-${way}`, way, 5),
        this.#dieWithin(`dying-${way}`, way),
        this.#beTakenOver(`taken-${way}`, way),
        this.#read(`member-${way}`, way, { version: 5, qos: 1, filter: `$share/all/${filter}` }),
        this.#read(`hasty-${way}`, way, { version: index === 0 ? 4 : 5, qos: 0 }),
      );
    }
    await Promise.all(all);
  }

  /** Looks at all retained messages, and at what waits for the sessions that last. */
  async lookAtWhatIsKept(round: number): Promise<void> {
    for (const [way, name] of this.#ways.entries().map(([index]) => [index, `lasting-${index}`] as const)) {
      const late = await this.#arrive(way, connectPacket(`late-${way}-${round}`, 5));
      this.#subscribe(late, { version: 5, qos: 1 });
      const back = await this.#arrive(way, durableConnect(name, way % 2 === 0 ? 5 : 4));
      await this.#barrier(late);
      await this.#barrier(back);
      late.cut(false);
      back.cut(false);
    }
  }

  get #goesOn(): boolean {
    return performance.now() < this.#endMs;
  }

  async #arrive(way: number, packet: ConnectPacket): Promise<Witness> {
    const open = this.#ways[way];
    assert.ok(open !== undefined);
    const witness = new Witness(open(), packet, this.#findings);
    assert.ok(await witness.until(() => witness.accepted, "CONNACK"), `${packet.clientId} was not let in`);
    return witness;
  }

  #subscribe(
    witness: Witness,
    { version, qos, filter: wanted = filter }: { version: ProtocolVersion; qos: QoS; filter?: string },
  ): void {
    witness.write(subscribePacket(version, 1, [request(wanted, qos)]));
  }

  /** What the server sent before has arrived. */
  async #barrier(witness: Witness): Promise<void> {
    const count = (): number => witness.answers.get(PacketType.pingresp) ?? 0;
    const before = count();
    witness.write(pingreqBytes);
    await witness.until(() => count() > before, "PINGRESP");
  }

  #next(who: string): { readonly who: string; readonly number: number; readonly bytes: number } {
    const number = (this.#numbers.get(who) ?? 0) + 1;
    this.#numbers.set(who, number);
    return { who, number, bytes: sizeBy(this.#random) };
  }

  /** Some packets at a time, cut anywhere. */
  async #send(name: string, way: number, version: ProtocolVersion): Promise<void> {
    const random = this.#random.branch();
    const witness = await this.#arrive(way, connectPacket(name, version));
    let packetId = 0;
    while (this.#goesOn && !witness.closed) {
      const packets = Array.from({ length: random.between(1, 5) }, () => {
        const qos = random.pick([0, 1, 2] as const);
        packetId = (packetId % 60_000) + 1;
        if (qos > 0) witness.unanswered += 1;
        return packetBy(random, this.#next(name), { version, qos, packetId });
      });
      await witness.writeInPieces(Buffer.concat(packets), random);
      await witness.until(() => witness.unanswered < unansweredMax, "acknowledgements");
      if (random.chance(0.2)) await this.#barrier(witness);
    }
    await witness.until(() => witness.unanswered === 0, "the last acknowledgements");
    assert.ok(!witness.closed, `${name} was sent away: ${witness.farewell}`);
    witness.cut(false);
  }

  async #read(
    name: string,
    way: number,
    how: { readonly version: ProtocolVersion; readonly qos: QoS; readonly filter?: string },
  ): Promise<void> {
    const properties = how.version === 5 ? { topicAliasMaximum: way } : noProperties;
    const reader = await this.#arrive(way, connectPacket(name, how.version, { properties }));
    this.#subscribe(reader, how);
    while (this.#goesOn) await delay(20);
    await this.#barrier(reader);
    assert.ok(!reader.closed, `${name} was sent away: ${reader.farewell}`);
    reader.cut(false);
  }

  /** Reads for a moment now and then, and is reset while much is on its way to it. */
  async #readSlowly(name: string, way: number, version: ProtocolVersion): Promise<void> {
    const random = this.#random.branch();
    while (this.#goesOn) {
      const reader = await this.#arrive(way, connectPacket(name, version));
      this.#subscribe(reader, { version, qos: random.pick([0, 1] as const) });
      for (let count = random.between(1, 4); count > 0 && this.#goesOn; count -= 1) {
        reader.pause();
        await delay(random.between(20, 300));
        reader.resume();
        await delay(random.between(1, 30));
      }
      reader.cut(random.chance(0.7));
    }
  }

  /** A session that lasts: messages wait for it while its client is away. */
  async #comeAndGo(name: string, way: number, version: ProtocolVersion): Promise<void> {
    const random = this.#random.branch();
    while (this.#goesOn) {
      const reader = await this.#arrive(way, durableConnect(name, version));
      this.#subscribe(reader, { version, qos: 2 });
      await delay(random.between(10, 300));
      reader.cut(random.chance(0.5));
      await delay(random.between(10, 150));
    }
  }

  /** The same client arrives again and again while it is being sent something. */
  async #beTakenOver(name: string, way: number): Promise<void> {
    const random = this.#random.branch();
    let before: Witness | undefined;
    while (this.#goesOn) {
      const reader = await this.#arrive(way, durableConnect(name, 5));
      this.#subscribe(reader, { version: 5, qos: random.pick([0, 1, 2] as const) });
      await delay(random.between(5, 80));
      before?.cut(false);
      before = reader;
      if (random.chance(0.3)) reader.pause();
    }
    before?.cut(true);
  }

  /** Ends within a packet, so that its will is published; what it had begun to say is nobody's. */
  async #dieWithin(name: string, way: number): Promise<void> {
    const random = this.#random.branch();
    while (this.#goesOn) {
      const bytes = random.pick([10, 500, 9_000, 50_000]);
      const will = willOf({ ...this.#next(name), bytes }, 5);
      const dying = await this.#arrive(way, connectPacket(name, 5, { will }));
      const unsaid = { who: name, number: 0, bytes: random.between(100, 200_000) };
      const packet = publishPacket(5, { topic: topicOf(unsaid), payload: payloadOf(unsaid) });
      await dying.writeInPieces(packet.subarray(0, random.between(20, packet.length - 1)), random);
      await delay(random.between(1, 20));
      dying.cut(true);
      await delay(random.between(1, 40));
    }
  }
}
