import { setImmediate as turn } from "node:timers/promises";

import { encodeConnect } from "@postern/mqtt/connect";
import { PacketType, type ProtocolVersion } from "@postern/mqtt/packets";

import type { Random } from "../../src/testing/random.ts";
import { type Address, type Received, WireClient } from "../../src/testing/wire-client.ts";
import { mutate, splice } from "./mutate.ts";
import { RandomPackets } from "./random-packets.ts";

const { puback, pubrec, pubcomp } = PacketType;
/** Packets of a connection that a failure shows. */
const loggedCount = 30;
/** Turns that a connection is given to be answered before it goes. */
const lingerTurns = 20;

/** How much of what a connection sends is wrong. */
type Manner = "correct" | "careless" | "hostile";

/** One connection that does what it likes. What the server may never send, whatever it was sent, is a fault. */
export class FuzzClient {
  readonly #random: Random;
  readonly #packets: RandomPackets;
  readonly #wire: WireClient;
  readonly #manner: Manner;
  /** The server reads our CONNECT as we wrote it: then all it sends must be right. */
  readonly #understood: boolean;
  readonly #log: string[] = [];
  #clientPacketBytesMax = Infinity;
  #closed = false;
  sentCount = 0;
  fault: string | undefined;

  constructor(address: Address, random: Random) {
    this.#random = random;
    const version = random.pick<ProtocolVersion>([3, 4, 4, 5, 5, 5]);
    this.#packets = new RandomPackets(random, version);
    this.#manner = random.pick<Manner>(["correct", "correct", "careless", "careless", "careless", "hostile"]);
    this.#understood = random.chance(0.8);
    this.#wire = new WireClient(address, version, {
      onReceived: (packet, bytes) => this.#received(packet, bytes),
      onUnreadable: (reason, bytes) => {
        if (this.#understood) this.fault ??= `the server sent ${bytes.toString("hex")}: ${reason}`;
      },
      onClose: () => {
        this.#closed = true;
      },
    });
  }

  /** What it sent last, oldest first. */
  get log(): readonly string[] {
    return this.#log;
  }

  /** Sends up to `count` packets and goes, in one way or another. */
  async run(count: number): Promise<void> {
    const random = this.#random;
    if (random.chance(0.05)) this.#wire.socket.pause();
    await this.#write(this.#opening());
    while (this.sentCount < count && !this.#closed) {
      const batch: Buffer[] = [];
      for (let left = random.pick([1, 1, 2, 5, 20]); left > 0; left -= 1)
        batch.push(this.#noted(this.#next()));
      await this.#write(Buffer.concat(batch));
    }
    await this.#leave();
  }

  #opening(): Buffer {
    const random = this.#random;
    if (this.#understood) {
      const packet = this.#packets.connectParts();
      this.#clientPacketBytesMax = packet.properties.maximumPacketSize ?? Infinity;
      return this.#noted(encodeConnect(packet));
    }
    if (random.chance(0.5)) return this.#noted(mutate(this.#packets.connect(), random));
    return this.#noted(this.#next());
  }

  #next(): Buffer {
    const random = this.#random;
    const packet = this.#packets.next();
    const wrong = this.#manner === "correct" ? 0 : this.#manner === "careless" ? 0.02 : 0.5;
    if (!random.chance(wrong)) return packet;
    const kind = random.below(10);
    if (kind < 6) return mutate(packet, random);
    if (kind < 8) return splice(packet, this.#packets.next(), random);
    return random.bytes(random.between(1, 50));
  }

  #noted(bytes: Buffer): Buffer {
    this.sentCount += 1;
    this.#log.push(bytes.subarray(0, 200).toString("hex"));
    if (this.#log.length > loggedCount) this.#log.shift();
    return bytes;
  }

  /** In one piece or in several, in one turn or in several. */
  async #write(bytes: Buffer): Promise<void> {
    const random = this.#random;
    let offset = 0;
    while (offset < bytes.length && !this.#closed) {
      const whole = random.chance(0.6);
      const end = whole ? bytes.length : Math.min(bytes.length, offset + random.between(1, 40));
      this.#wire.send(bytes.subarray(offset, end));
      offset = end;
      if (random.chance(0.5)) await turn();
    }
  }

  async #leave(): Promise<void> {
    const random = this.#random;
    const way = random.below(4);
    if (way === 0) this.#wire.send(this.#packets.disconnect());
    if (way <= 1) this.#wire.end();
    for (let turns = way === 3 ? 0 : lingerTurns; turns > 0 && !this.#closed; turns -= 1) await turn();
    this.#wire.destroy();
    await this.#wire.closed;
  }

  #received(packet: Received, bytes: Buffer): void {
    if (!this.#understood) return;
    if (bytes.length > this.#clientPacketBytesMax)
      this.fault ??= `the server sent ${bytes.length} bytes to a client that takes ${this.#clientPacketBytesMax}`;
    const answer = this.#answerTo(packet);
    if (answer !== undefined) this.#wire.send(this.#noted(answer));
  }

  /** As the protocol asks, most of the time. */
  #answerTo(packet: Received): Buffer | undefined {
    const random = this.#random;
    if (packet.kind !== "publish" && packet.kind !== "pubrel") return undefined;
    const { packetId } = packet;
    if (packetId === 0 || random.chance(0.2)) return undefined;
    if (random.chance(0.05)) return this.#packets.ack(random.pick([4, 5, 6, 7] as const), packetId);
    if (packet.kind !== "publish") return this.#packets.ack(pubcomp, packetId);
    return this.#packets.ack(packet.qos === 1 ? puback : pubrec, packetId);
  }
}
