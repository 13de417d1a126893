import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as openSocket, type Socket } from "node:net";

import { concat } from "./bytes.ts";
import * as packets from "./packets.ts";
import { describeBytes } from "./reader.ts";
import {
  read,
  type Connack,
  type Publish,
  type Received,
  type ReceivedKind,
  type ReasonPacket,
  type Suback,
} from "./received.ts";

/** Long enough for a busy machine; only a failing test waits for it. */
const patienceMs = 8_000;

export interface Address {
  readonly host: string;
  readonly port: number;
}

type OfKind<Kind extends ReceivedKind> = Received & { readonly kind: Kind };

export interface PublishOptions extends Omit<packets.PublishOptions, "packetId"> {
  readonly qos?: packets.QoS;
}

/** A client that sends the bytes it is told to and reads what comes back; it does nothing by itself. */
export class RawClient implements AsyncDisposable {
  readonly version: packets.Version;
  readonly #socket: Socket;
  /** No packet from the broker may be larger: the Maximum Packet Size the client declared. */
  readonly #packetBytesMax: number;
  #bytes: Uint8Array = new Uint8Array();
  #received: Received[] = [];
  #fault: unknown;
  #closed = false;
  #wake: () => void = () => {};
  #lastPacketId = 0;
  #connack: Connack | undefined;
  #lastSent: Uint8Array = new Uint8Array();

  private constructor(socket: Socket, version: packets.Version, packetBytesMax: number) {
    this.#socket = socket;
    this.version = version;
    this.#packetBytesMax = packetBytesMax;
    socket.on("data", (chunk: Uint8Array) => this.#take(chunk));
    socket.on("error", () => {});
    socket.once("end", () => this.#end());
    socket.once("close", () => this.#end());
  }

  /** Opens a connection and sends nothing. */
  static async open(
    address: Address,
    version: packets.Version,
    packetBytesMax = Number.MAX_SAFE_INTEGER,
  ): Promise<RawClient> {
    const socket = openSocket(address);
    await once(socket, "connect");
    socket.setNoDelay(true);
    return new RawClient(socket, version, packetBytesMax);
  }

  /** Sends CONNECT and waits for the broker to accept it. */
  async connect(options: packets.ConnectOptions): Promise<Connack> {
    this.send(packets.connect(this.version, options));
    const connack = await this.expect("connack");
    assert.equal(connack.reasonCode, 0, `CONNACK with the reason code 0x${connack.reasonCode.toString(16)}`);
    this.#connack = connack;
    return connack;
  }

  /** How the broker accepted the connection. */
  get connack(): Connack {
    assert.ok(this.#connack !== undefined, "not connected");
    return this.#connack;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Closes the connection without DISCONNECT, as if the network had failed. */
  async drop(): Promise<void> {
    if (this.#socket.destroyed) return;
    const closed = once(this.#socket, "close");
    this.#socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drop();
  }

  /** Sends the bytes of all packets at once. */
  send(...bytes: Uint8Array[]): void {
    this.#lastSent = concat(...bytes);
    this.#socket.write(this.#lastSent);
  }

  /** Reads nothing any more, so that the broker's output piles up. */
  stopReading(): void {
    this.#socket.pause();
  }

  nextPacketId(): number {
    this.#lastPacketId = (this.#lastPacketId % 0xff_ff) + 1;
    return this.#lastPacketId;
  }

  /** The next packet, which must be of this kind. */
  async expect<Kind extends ReceivedKind>(kind: Kind, withinMs = patienceMs): Promise<OfKind<Kind>> {
    await this.#until(() => this.#received.length > 0, kind, withinMs);
    const next = this.#received.shift();
    assert.ok(next !== undefined && isOfKind(next, kind), `expected ${kind}, received ${show(next)}`);
    return next;
  }

  /** The first packet of this kind; those of other kinds stay in place. */
  async take<Kind extends ReceivedKind>(kind: Kind): Promise<OfKind<Kind>> {
    await this.#until(() => this.#received.some((packet) => packet.kind === kind), kind, patienceMs);
    const index = this.#received.findIndex((packet) => packet.kind === kind);
    const [taken] = this.#received.splice(index, 1);
    assert.ok(taken !== undefined && isOfKind(taken, kind));
    return taken;
  }

  /** That the broker closes the connection, having sent nothing more. */
  async expectClosed(withinMs = patienceMs): Promise<void> {
    await this.#until(() => this.#closed || this.#received.length > 0, "the end of the connection", withinMs);
    assert.equal(
      this.#received.length,
      0,
      `expected the end of the connection, received ${show(this.#received[0])}`,
    );
  }

  /** That the broker sends DISCONNECT with this reason code and closes the connection. @see MQTT 5.0 §4.13 */
  async expectDisconnect(...reasonCodes: number[]): Promise<ReasonPacket> {
    const disconnect = await this.expect("disconnect");
    const shown = `DISCONNECT with the reason code 0x${disconnect.reasonCode.toString(16)}`;
    assert.ok(reasonCodes.includes(disconnect.reasonCode), shown);
    await this.expectClosed();
    return disconnect;
  }

  /** The kind of the next packet that has already arrived; `undefined` when there is none. */
  get arrived(): ReceivedKind | undefined {
    return this.#received[0]?.kind;
  }

  /** Whether the broker closed the connection; a packet it sent before is left in place. */
  async closesOrSends(): Promise<"closed" | ReceivedKind> {
    await this.#until(() => this.#closed || this.#received.length > 0, "an answer", patienceMs);
    return this.#received[0]?.kind ?? "closed";
  }

  /**
   * That everything the broker had for this client has arrived and was taken: it answers in order, so whatever it
   * sent before the answer to a PINGREQ is here with the answer.
   */
  async expectNothing(): Promise<void> {
    await this.ping();
    assert.deepEqual(this.#received, [], "expected nothing more");
  }

  async ping(): Promise<void> {
    this.send(packets.pingreq);
    await this.take("pingresp");
  }

  /** Subscribes and returns the SUBACK; one QoS (or options byte) for all filters. */
  async subscribe(
    filters: string | readonly string[],
    options = 0,
    properties: readonly Uint8Array[] = [],
  ): Promise<Suback> {
    const packetId = this.nextPacketId();
    const requests = [filters].flat().map((filter) => [filter, options] as const);
    this.send(packets.subscribe(this.version, packetId, requests, properties));
    const suback = await this.take("suback");
    assert.equal(suback.packetId, packetId);
    assert.equal(suback.reasonCodes.length, requests.length);
    return suback;
  }

  async unsubscribe(...filters: string[]): Promise<Suback> {
    const packetId = this.nextPacketId();
    this.send(packets.unsubscribe(this.version, packetId, filters));
    const unsuback = await this.take("unsuback");
    assert.equal(unsuback.packetId, packetId);
    return unsuback;
  }

  /**
   * Publishes and sees the exchange of its QoS through; at QoS 0 waits until the broker has read it. Returns the
   * reason code of PUBACK or PUBREC.
   */
  async publish(options: PublishOptions): Promise<number> {
    const { qos = 0 } = options;
    if (qos === 0) {
      this.send(packets.publish(this.version, options));
      await this.ping();
      return 0;
    }
    const packetId = this.nextPacketId();
    this.send(packets.publish(this.version, { ...options, packetId }));
    const answer = await this.take(qos === 1 ? "puback" : "pubrec");
    assert.equal(answer.packetId, packetId);
    if (qos === 1 || answer.reasonCode >= 0x80) return answer.reasonCode;
    this.send(packets.pubrel(packetId));
    assert.equal((await this.take("pubcomp")).packetId, packetId);
    return answer.reasonCode;
  }

  /** The next packet, which must be a PUBLISH, acknowledged as its QoS asks. */
  async receive(): Promise<Publish> {
    const publish = await this.expect("publish");
    await this.acknowledge(publish);
    return publish;
  }

  async acknowledge({ qos, packetId }: Publish): Promise<void> {
    if (qos === 1) this.send(packets.puback(packetId));
    if (qos < 2) return;
    this.send(packets.pubrec(packetId));
    assert.equal((await this.take("pubrel")).packetId, packetId);
    this.send(packets.pubcomp(packetId));
  }

  /** The payloads of the next PUBLISH packets, acknowledged. */
  async receivePayloads(count: number): Promise<string[]> {
    const payloads: string[] = [];
    while (payloads.length < count) payloads.push((await this.receive()).payload);
    return payloads;
  }

  /** Sends DISCONNECT and waits for the end. */
  async disconnect(options: packets.AckOptions = {}): Promise<void> {
    this.send(packets.disconnect(options));
    await this.#until(() => this.#closed, "the end of the connection", patienceMs);
    await this.drop();
  }

  #take(chunk: Uint8Array): void {
    this.#bytes = concat(this.#bytes, chunk);
    try {
      while (this.#readOne()) this.#wake();
    } catch (error) {
      this.#fault ??= error;
    }
    this.#wake();
  }

  /** Reads the first whole packet of what has arrived; false when there is none. */
  #readOne(): boolean {
    const bytes = this.#bytes;
    let length = 0;
    let at = 1;
    for (let factor = 1; ; factor *= 128) {
      const digit = bytes[at];
      if (digit === undefined) return false;
      length += (digit & 0x7f) * factor;
      at += 1;
      if (digit < 0x80) {
        assert.ok(digit > 0 || factor === 1, "the broker used more bytes than needed for a length");
        break;
      }
    }
    const end = at + length;
    if (bytes.length < end) return false;
    this.#bytes = bytes.subarray(end);
    const whole = bytes.subarray(0, end);
    assert.ok(end <= this.#packetBytesMax, `[MQTT-3.1.2-24] ${end} bytes: ${describeBytes(whole)}`);
    this.#received.push(read(this.version, bytes[0] ?? 0, bytes.subarray(at, end)));
    return true;
  }

  #end(): void {
    this.#closed = true;
    this.#wake();
  }

  #tellMissing(wanted: string, withinMs: number): string {
    const how = this.#closed ? "the broker closed the connection" : `waited ${withinMs} ms`;
    const received = this.#received.length === 0 ? "nothing" : this.#received.map(show).join(", ");
    return `${how}; expected ${wanted}, received ${received}, after sending ${describeBytes(this.#lastSent)}`;
  }

  async #until(done: () => boolean, wanted: string, withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      if (this.#fault !== undefined) throw this.#fault;
      if (done()) return;
      const leftMs = this.#closed ? 0 : deadline - performance.now();
      if (leftMs <= 0) assert.fail(this.#tellMissing(wanted, withinMs));
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, leftMs);
      await promise;
      clearTimeout(timer);
    }
  }
}

function isOfKind<Kind extends ReceivedKind>(packet: Received, kind: Kind): packet is OfKind<Kind> {
  return packet.kind === kind;
}

function show(packet: Received | undefined): string {
  return JSON.stringify(packet);
}
