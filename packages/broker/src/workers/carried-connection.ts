import type { Socket } from "node:net";

import type { Admitted, Gate } from "../listeners/admission.ts";
import type { PacketMemory } from "../packet-memory.ts";
import type { Peer } from "../ports.ts";
import type { Transport, TransportHandler } from "../transport.ts";
import { type Batch, FromCarrier } from "./batch.ts";
import type { Arrival, Introduction } from "./messages.ts";

/** Why nothing is read from a client. */
export const CarrierPause = {
  /** The first thread asked for it. */
  asked: 1,
  /** The first thread has more from this one than it has taken in. */
  full: 2,
  /** What came before CONNECT is being looked at. */
  lookedAt: 4,
} as const;
export type CarrierPause = (typeof CarrierPause)[keyof typeof CarrierPause];

/** With so many bytes written that the first thread does not know of, it is told at once: it may be waiting for the room. */
const unreportedBytesMax = 32_768;

/** What a connection needs of the thread that carries it. */
export interface CarrierLink {
  /** The batch that is handed over at the end of this turn. */
  batch(): Batch;
  /** Bytes of a client, which are looked at during the call only. */
  data(from: CarriedConnection, bytes: Buffer): void;
  /** Has `report` called before the next batch is handed over: soon in any case, at the end of this turn when it is `urgent`. */
  later(connection: CarriedConnection, urgent: boolean): void;
  /** Neither socket nor transport is left. */
  forget(connection: CarriedConnection): void;
}

/**
 * A connection whose socket is in this thread, and of which everything is decided in the first one.
 *
 *     accepted ──► arrived ─► (may it come in?) ─► begin ──► TLS, HTTP ──► ready ──► data …  closed, gone
 */
export class CarriedConnection implements Admitted, TransportHandler {
  readonly socket: Socket;
  readonly number: number;
  readonly #link: CarrierLink;
  readonly #gate: Gate;
  /** Its transport gathers bytes before it hands them on. */
  readonly #gathers: boolean;
  #transport: Transport | undefined = undefined;
  #pauses = 0;
  #awaitsConnect = true;
  /** Pieces of data that are being looked at. */
  #looks = 0;
  #pieces: Uint8Array[] = [];
  /** Behind the pieces, held until they are written. */
  #memories: PacketMemory[] = [];
  #piecesCount = 1;
  /** Writes that the transport has not done yet. */
  #writing = 0;
  #written = 0;
  /** Bytes that were handed to the transport since the last report. */
  #unreportedBytes = 0;
  #gathered = 0;
  #reports = false;
  #isGone = false;
  #isClosed = false;

  constructor(
    parts: {
      readonly link: CarrierLink;
      readonly socket: Socket;
      readonly gate: Gate;
      readonly gathers: boolean;
    },
    number: number,
    listener: number,
  ) {
    this.#link = parts.link;
    this.socket = parts.socket;
    this.number = number;
    this.#gate = parts.gate;
    this.#gathers = parts.gathers;
    const { remoteAddress: address = "", remotePort: port = 0 } = parts.socket;
    this.#tell(FromCarrier.arrived, listener, { address, port } satisfies Arrival);
    // Until it begins nobody else listens for what may go wrong with it.
    this.socket.on("error", ignore);
    this.socket.once("close", () => {
      this.#link.batch().add(FromCarrier.gone, this.number, 0);
      this.#isGone = true;
      this.#end();
    });
  }

  /** Half-open connections are counted in the first thread, which knows of it by itself. */
  proven(): void {}

  // ── from the first thread ─────────────────────────────────────────────────────────────────────

  begin(): void {
    if (!this.socket.destroyed) this.#gate.start(this);
  }

  cut(): void {
    this.socket.destroy();
  }

  /** The bytes stay as they are for as long as `memory` is held. */
  write(bytes: Buffer, memory: PacketMemory): void {
    const transport = this.#transport;
    if (transport === undefined) return;
    this.#unreportedBytes += bytes.length;
    const isSmallPart = bytes.length * 2 < memory.bytes.length;
    // Whoever does not read may hold one piece of memory that is mostly for others, not one for each write.
    const copies = isSmallPart && this.#writing > 0;
    if (!copies) memory.hold();
    if (this.#piecesCount === 1) {
      this.#writing += 1;
      if (copies) transport.write(Buffer.from(bytes), () => this.#onWritten());
      else transport.write(bytes, () => this.#onWritten(memory));
      return;
    }
    this.#pieces.push(copies ? Buffer.from(bytes) : bytes);
    if (!copies) this.#memories.push(memory);
    if (this.#pieces.length === this.#piecesCount) this.#writeAll(transport);
  }

  #writeAll(transport: Transport): void {
    const memories = this.#memories;
    this.#writing += 1;
    transport.writeAll(this.#pieces, () => {
      for (const memory of memories) memory.release();
      this.#onWritten();
    });
    this.#piecesCount = 1;
    this.#pieces = [];
    this.#memories = [];
  }

  #onWritten(memory?: PacketMemory): void {
    memory?.release();
    this.#writing -= 1;
    this.#written += 1;
    this.#report(this.#unreportedBytes >= unreportedBytesMax);
  }

  /** The next writes, so many, are to be one. */
  gather(count: number): void {
    this.#piecesCount = count;
  }

  end(lingerMs: number): void {
    this.#transport?.end(lingerMs);
  }

  pause(reason: CarrierPause): void {
    this.#pauses |= reason;
    this.#transport?.pause();
  }

  resume(reason: CarrierPause): void {
    this.#pauses &= ~reason;
    if (this.#pauses === 0) this.#transport?.resume();
  }

  lookedAt(awaitsConnect: boolean): void {
    this.#looks -= 1;
    this.#awaitsConnect = awaitsConnect;
    if (this.#looks === 0) this.resume(CarrierPause.lookedAt);
  }

  // ── from the transport ────────────────────────────────────────────────────────────────────────

  /** It has come as far as MQTT. */
  ready(transport: Transport, { certificate, intermediates, certificateError }: Peer): void {
    this.#transport = transport;
    this.#tell(FromCarrier.ready, 0, {
      certificate: certificate === undefined ? undefined : base64(certificate),
      intermediates: intermediates?.().map(base64) ?? [],
      certificateError,
    } satisfies Introduction);
  }

  /** What is being looked at may have been the CONNECT: until that is known, and nothing more is read, it counts as one. */
  get awaitsConnect(): boolean {
    return this.#awaitsConnect && this.#looks === 0;
  }

  get packetBytesMax(): number {
    const { connectBytesMax, packetBytesMax } = this.#gate.limits;
    return this.#awaitsConnect ? connectBytesMax : packetBytesMax;
  }

  onData(bytes: Buffer): void {
    this.#link.data(this, bytes);
    if (!this.#gathers || !this.#awaitsConnect) return;
    this.#looks += 1;
    this.pause(CarrierPause.lookedAt);
    this.#link.batch().add(FromCarrier.look, this.number, 0);
  }

  onGathered(bytesMore: number): void {
    this.#gathered += bytesMore;
    this.#report(true);
  }

  onEnd(): void {
    this.#link.batch().add(FromCarrier.end, this.number, 0);
  }

  onClose(): void {
    this.#link.batch().add(FromCarrier.closed, this.number, 0);
    this.#isClosed = true;
    this.#end();
  }

  /** Adds what has gathered to tell. */
  report(batch: Batch): void {
    this.#reports = false;
    if (this.#written > 0) batch.add(FromCarrier.written, this.number, this.#written);
    if (this.#gathered !== 0) batch.add(FromCarrier.gathered, this.number, this.#gathered);
    this.#written = 0;
    this.#unreportedBytes = 0;
    this.#gathered = 0;
  }

  #report(urgent: boolean): void {
    if (this.#reports && !urgent) return;
    const isNew = !this.#reports;
    // A batch that is full is handed over at once, and with it this report.
    this.#reports = true;
    if (isNew) this.#link.later(this, urgent);
    else this.#link.batch();
  }

  #tell(kind: number, value: number, what: object): void {
    this.#link.batch().addBytes(kind, this.number, value, Buffer.from(JSON.stringify(what)));
  }

  #end(): void {
    if (this.#isGone && (this.#isClosed || this.#transport === undefined)) this.#link.forget(this);
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

function ignore(): void {}
