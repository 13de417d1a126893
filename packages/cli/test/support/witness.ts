import { setImmediate as turn } from "node:timers/promises";
import type { Duplex } from "node:stream";

import { decodeConnack } from "@postern/mqtt/connack";
import { encodeConnect } from "@postern/mqtt/connect";
import { decodeDisconnect } from "@postern/mqtt/control";
import { createFrame, FrameResult, readFrame, type Frame } from "@postern/mqtt/frame";
import { type ConnectPacket, PacketType, type ProtocolVersion } from "@postern/mqtt/packets";
import { createPublishView, decodePublish } from "@postern/mqtt/publish";
import { ackPacket } from "@postern/broker/testing/packets";
import type { Random } from "@postern/broker/testing/random";

import { type Seen, faultOf } from "./signed-messages.ts";

/** Long enough for a busy machine; only a failing test waits for it. */
const patienceMs = 60_000;
const packetBytesMax = 268_435_460;

/** A connection that is being opened. */
export interface Line {
  readonly stream: Duplex;
  /** Ends it without a word that it is over, where that can be done. */
  reset(): void;
}

/** What all witnesses of a run have in common. */
export interface Findings {
  received: number;
  bytes: number;
  /** What somebody was shown that is not as it was sent. */
  readonly faults: string[];
}

/** A client that looks at every byte of every message that it is sent, acknowledges it, and sends what it is told to. */
export class Witness {
  readonly #line: Line;
  readonly #stream: Duplex;
  readonly #version: ProtocolVersion;
  readonly #findings: Findings;
  readonly #name: string;
  readonly #frame = createFrame();
  readonly #view = createPublishView();
  #rest: Buffer = Buffer.alloc(0);
  #wake: () => void = () => {};
  /** What is to be written when all pieces of something are. */
  #waiting: Uint8Array[] | undefined;
  /** Topics by the aliases that the server gave them. */
  readonly #aliases = new Map<number, string>();
  accepted = false;
  closed = false;
  /** Why the server ended the connection, where it said so. */
  farewell = "";
  /** What was sent with QoS 1 and 2 and is not acknowledged. */
  unanswered = 0;
  /** Other packets than PUBLISH, by their type. */
  readonly answers = new Map<number, number>();

  constructor(line: Line, connect: ConnectPacket, findings: Findings) {
    const { stream } = line;
    this.#line = line;
    this.#stream = stream;
    this.#version = connect.protocolVersion;
    this.#name = connect.clientId;
    this.#findings = findings;
    stream.on("data", (bytes: Buffer) => this.#take(bytes));
    // "close" follows.
    stream.on("error", () => {});
    stream.once("close", () => {
      this.closed = true;
      this.#wake();
    });
    this.write(encodeConnect(connect));
  }

  write(bytes: Uint8Array): void {
    if (this.#waiting !== undefined) this.#waiting.push(bytes);
    else if (!this.closed && this.#stream.writable) this.#stream.write(bytes);
  }

  /** Writes in pieces that end anywhere, each of which the server may read by itself. */
  async writeInPieces(bytes: Buffer, random: Random): Promise<void> {
    const waiting: Uint8Array[] = [];
    this.#waiting = waiting;
    for (let start = 0; start < bytes.length && !this.closed;) {
      const end = random.chance(0.4) ? bytes.length : random.between(start + 1, bytes.length);
      if (this.#stream.writable) this.#stream.write(bytes.subarray(start, end));
      start = end;
      await turn();
    }
    this.#waiting = undefined;
    for (const answer of waiting) this.write(answer);
  }

  /** Waits until `done`; false when the connection ended before. @throws when neither happens for long. */
  async until(done: () => boolean, what: string): Promise<boolean> {
    const deadline = performance.now() + patienceMs;
    while (!done() && !this.closed) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new Error(`${this.#name} gave up waiting for ${what}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, leftMs);
      await promise;
      clearTimeout(timer);
    }
    return done();
  }

  /** Takes nothing from the server until `resume`. */
  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  /** Gone, whatever was on its way; with `reset` without a word that it is over. */
  cut(reset: boolean): void {
    this.closed = true;
    if (reset) this.#line.reset();
    else this.#stream.destroy();
    this.#wake();
  }

  #take(bytes: Buffer): void {
    if (this.closed) return;
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let offset = 0;
    for (;;) {
      const result = readFrame(all, offset, all.length, packetBytesMax, this.#frame, this.#version);
      if (result === FrameResult.incomplete) break;
      if (result !== FrameResult.complete) {
        this.#fault("what it was sent is no MQTT", all.subarray(offset, offset + 32).toString("hex"));
        return;
      }
      offset = this.#frame.bodyEnd;
      this.#look(all, this.#frame);
    }
    this.#rest = Buffer.from(all.subarray(offset));
    this.#wake();
  }

  #look(bytes: Buffer, frame: Frame): void {
    const { type, bodyStart, bodyEnd } = frame;
    this.answers.set(type, (this.answers.get(type) ?? 0) + 1);
    const packetId = bodyEnd - bodyStart < 2 ? 0 : bytes.readUInt16BE(bodyStart);
    switch (type) {
      case PacketType.connack: {
        const connack = decodeConnack(bytes, bodyStart, bodyEnd, this.#version);
        this.accepted = connack.kind === "value" && connack.value.reasonCode === 0;
        if (connack.kind === "malformed") this.#fault("CONNACK", connack.reason);
        return;
      }
      case PacketType.disconnect: {
        const packet = decodeDisconnect(bytes, bodyStart, bodyEnd, this.#version);
        this.farewell =
          packet.kind === "value" ? (packet.value.properties.reasonString ?? "") : packet.reason;
        return;
      }
      case PacketType.publish:
        this.#publish(bytes, frame);
        return;
      case PacketType.puback:
      case PacketType.pubcomp:
        this.unanswered -= 1;
        return;
      case PacketType.pubrec:
        this.write(ackPacket(PacketType.pubrel, packetId));
        return;
      case PacketType.pubrel:
        this.write(ackPacket(PacketType.pubcomp, packetId));
    }
  }

  #publish(bytes: Buffer, frame: Frame): void {
    const view = this.#view;
    const problem = decodePublish(bytes, frame, this.#version, view);
    if (problem !== undefined) {
      this.#fault("PUBLISH", problem.reason);
      return;
    }
    const seen: Seen = {
      topic: this.#topicOf(
        bytes.toString("utf8", view.topicStart, view.topicEnd),
        view.properties.topicAlias,
      ),
      payload: bytes.subarray(view.payloadStart, view.payloadEnd),
      properties: view.properties,
    };
    this.#findings.received += 1;
    this.#findings.bytes += seen.payload.length;
    const fault = faultOf(seen);
    if (fault !== undefined) this.#fault(`${seen.topic} (QoS ${view.qos})`, fault);
    if (view.qos > 0)
      this.write(ackPacket(view.qos === 1 ? PacketType.puback : PacketType.pubrec, view.packetId));
  }

  #topicOf(name: string, alias: number | undefined): string {
    if (alias === undefined) return name;
    if (name !== "") this.#aliases.set(alias, name);
    return this.#aliases.get(alias) ?? "";
  }

  #fault(where: string, what: string): void {
    this.#findings.faults.push(`${this.#name}: ${where}: ${what}`);
  }
}
