import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

import { systemClock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";

import { type Gate, startsPerTurnMax } from "../listeners/admission.ts";
import { type ListenerHost, type RunningListener, startListener } from "../listeners/listener.ts";
import { type Resumption, type TicketKeys, TlsSessions } from "../listeners/tls-sessions.ts";
import type { TlsMaterial } from "../ports.ts";
import { TimerWheel } from "../timer-wheel.ts";
import type { PacketMemory } from "../packet-memory.ts";
import {
  Batch,
  FromCarrier,
  inlineBytesMax,
  memoryOf,
  readBatch,
  Returns,
  takeBack,
  ToCarrier,
} from "./batch.ts";
import { CarriedConnection, CarrierPause, type CarrierLink } from "./carried-connection.ts";
import { FewEachTurn } from "./few-each-turn.ts";
import { turns } from "./turns.ts";
import type { CarrierJob, FromCarrierMessage, MaterialCopy, ToCarrierMessage } from "./messages.ts";

/*
 * Carries connections: accepts them, does TLS and WebSocket, reads and writes. What they say is for the first thread to understand.
 */

/** With so many bytes on their way to the first thread, nothing more is read from whoever sends more. */
const untakenBytesMax = 1_048_576;
/** With so many, nothing is read from anybody. */
const untakenBytesLast = 4 * untakenBytesMax;

/** What was written is told with what is read next, and without it after this time: by itself it is worth waking nobody. */
const reportMs = 1;

/** A listener of this thread. */
interface Listening {
  /** `undefined` while it is being opened. */
  running: RunningListener | undefined;
  material: MaterialCopy | undefined;
}

class Carrier implements CarrierLink {
  readonly #post: (message: FromCarrierMessage, memory: ArrayBuffer[]) => void;
  readonly #context: ListenerHost["context"];
  readonly #listeners = new Map<number, Listening>();
  readonly #sessions: TlsSessions[] = [];
  readonly #connections = new Map<number, CarriedConnection>();
  /** The first thread's turns are many while this one does a handshake: what they have begun is spread here once more. */
  readonly #beginnings = new FewEachTurn(startsPerTurnMax);
  #lastNumber = 0;
  #batch = new Batch();
  readonly #returns = new Returns();
  #scheduled = false;
  #reporting: CarriedConnection[] = [];
  #untakenBytes = 0;
  readonly #stopped = new Set<CarriedConnection>();
  readonly #questions = new Map<number, (answer: Uint8Array | undefined) => void>();
  #lastQuestion = 0;
  #reportTimer: NodeJS.Timeout | undefined = undefined;
  readonly #onFlush = (): void => {
    this.#scheduled = false;
    this.#flush();
  };
  readonly #onRecord = (
    kind: number,
    number: number,
    value: number,
    bytes: Buffer,
    memory: PacketMemory,
  ): void => this.#take(kind, number, value, bytes, memory);

  constructor({ limits }: CarrierJob, post: (message: FromCarrierMessage, memory: ArrayBuffer[]) => void) {
    this.#post = post;
    const log = (level: keyof Log) => (fields: object, message: string) =>
      post({ kind: "log", level, fields, message }, []);
    this.#context = {
      limits,
      wheel: new TimerWheel(systemClock),
      stats: { connectRefused: 0 },
      ports: {
        log: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") },
        audit: { record: (event) => post({ kind: "audit", event }, []) },
      },
    };
  }

  take(message: ToCarrierMessage): void {
    switch (message.kind) {
      case "batch":
        takeBack(message.returned);
        readBatch(message.handed, this.#returns, this.#onRecord);
        if (this.#returns.areMany) this.batch();
        break;
      case "listen":
        void this.#listen(message);
        break;
      case "reload-tls":
        this.#reloadTls(message.listener, message.material);
        break;
      case "ticket-keys":
        this.#sessionsFor(message.resumption, message.ticketKeys).follow(message.ticketKeys);
        break;
      case "hear-all":
        void this.#hearAll(message.question);
        break;
      case "stapled":
        this.#questions.get(message.question)?.(message.answer);
        this.#questions.delete(message.question);
        break;
      case "close-listener":
        void this.#closeListener(message.listener);
        break;
      case "cut-listener":
        this.#listeners.get(message.listener)?.running?.cut();
        break;
      case "end":
        this.#end();
        break;
      default:
        message satisfies never;
    }
  }

  // ── for its connections ───────────────────────────────────────────────────────────────────────

  batch(): Batch {
    if (this.#batch.isFull) this.#flush();
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(this.#onFlush);
    }
    return this.#batch;
  }

  data(from: CarriedConnection, bytes: Buffer): void {
    const batch = this.batch();
    const { length } = bytes;
    if (length <= inlineBytesMax) batch.addBytes(FromCarrier.data, from.number, 0, bytes);
    else batch.addBody(FromCarrier.dataBody, from.number, bytes);
    this.#untakenBytes += length;
    if (this.#untakenBytes <= untakenBytesMax) return;
    this.#stop(from);
    if (this.#untakenBytes > untakenBytesLast)
      for (const connection of this.#connections.values()) this.#stop(connection);
  }

  later(connection: CarriedConnection, urgent: boolean): void {
    this.#reporting.push(connection);
    if (urgent) this.batch();
    else if (!this.#scheduled) this.#reportTimer ??= setTimeout(this.#onFlush, reportMs);
  }

  forget(connection: CarriedConnection): void {
    this.#connections.delete(connection.number);
    this.#stopped.delete(connection);
  }

  // ── inside ────────────────────────────────────────────────────────────────────────────────────

  #take(kind: number, number: number, value: number, bytes: Buffer, memory: PacketMemory): void {
    if (kind === ToCarrier.taken) {
      this.#taken(value);
      return;
    }
    const connection = this.#connections.get(number);
    if (connection === undefined) return;
    switch (kind) {
      case ToCarrier.write:
      case ToCarrier.writeBody:
      case ToCarrier.writeRun:
        connection.write(bytes, memory);
        break;
      case ToCarrier.gather:
        connection.gather(value);
        break;
      case ToCarrier.begin:
        this.#beginnings.do(() => connection.begin());
        break;
      case ToCarrier.cut:
        connection.cut();
        break;
      case ToCarrier.pause:
        connection.pause(CarrierPause.asked);
        break;
      case ToCarrier.resume:
        connection.resume(CarrierPause.asked);
        break;
      case ToCarrier.end:
        connection.end(value);
        break;
      case ToCarrier.lookedAt:
        connection.lookedAt(value === 1);
        break;
    }
  }

  #flush(): void {
    clearTimeout(this.#reportTimer);
    this.#reportTimer = undefined;
    const reporting = this.#reporting;
    this.#reporting = [];
    for (const connection of reporting) connection.report(this.#batch);
    const returned = this.#returns.take();
    if (this.#batch.isEmpty && returned.length === 0) return;
    const handed = this.#batch.take();
    this.#post({ kind: "batch", handed, returned }, [...memoryOf(handed), ...returned]);
  }

  #stop(connection: CarriedConnection): void {
    this.#stopped.add(connection);
    connection.pause(CarrierPause.full);
  }

  #taken(bytes: number): void {
    this.#untakenBytes -= bytes;
    if (this.#stopped.size === 0 || this.#untakenBytes > untakenBytesMax / 2) return;
    const stopped = [...this.#stopped];
    this.#stopped.clear();
    for (const connection of stopped) connection.resume(CarrierPause.full);
  }

  async #listen(message: Extract<ToCarrierMessage, { readonly kind: "listen" }>): Promise<void> {
    const { listener, options, material, ticketKeys } = message;
    const gathers = options.kind === "ws" || options.kind === "wss";
    const current: Listening = { running: undefined, material };
    this.#listeners.set(listener, current);
    try {
      current.running = await startListener(
        { ...options, tls: material === undefined ? undefined : () => this.#materialOf(listener, current) },
        {
          context: this.#context,
          admission: {
            enter: (socket, gate) => {
              this.#enter({ socket, gate, gathers }, listener);
              return true;
            },
          },
          accept: (transport, peer, _limits, admitted) => {
            assert(admitted instanceof CarriedConnection);
            admitted.ready(transport, peer);
            return admitted;
          },
          sessionsFor: (resumption) => {
            assert(ticketKeys !== undefined);
            return this.#sessionsFor(resumption, ticketKeys);
          },
        },
      );
      // There may be others since.
      if (current.material !== material) current.running.reloadTls();
      this.#post({ kind: "listening", listener }, []);
    } catch (thrown) {
      this.#listeners.delete(listener);
      const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : undefined;
      this.#post({ kind: "not-listening", listener, message: errorText(thrown), code }, []);
    }
  }

  #enter(
    parts: { readonly socket: Socket; readonly gate: Gate; readonly gathers: boolean },
    listener: number,
  ): void {
    this.#lastNumber = (this.#lastNumber + 1) & 0x7f_ff_ff_ff;
    const connection = new CarriedConnection({ link: this, ...parts }, this.#lastNumber, listener);
    this.#connections.set(connection.number, connection);
  }

  #materialOf(listener: number, { material }: Pick<Listening, "material">): TlsMaterial {
    assert(material !== undefined);
    const { context, requestCertificate, staples } = material;
    return { context, requestCertificate, staple: staples ? () => this.#ask(listener) : undefined };
  }

  #ask(listener: number): Promise<Uint8Array | undefined> {
    this.#lastQuestion += 1;
    const question = this.#lastQuestion;
    return new Promise((resolve) => {
      this.#questions.set(question, resolve);
      this.#post({ kind: "staple", listener, question }, []);
    });
  }

  #reloadTls(listener: number, material: MaterialCopy): void {
    const listening = this.#listeners.get(listener);
    if (listening === undefined) return;
    listening.material = material;
    listening.running?.reloadTls();
  }

  #sessionsFor(resumption: Resumption, ticketKeys: TicketKeys): TlsSessions {
    const known = this.#sessions.find(({ resumption: { seconds } }) => seconds === resumption.seconds);
    if (known !== undefined) return known;
    const sessions = new TlsSessions(resumption, systemClock, ticketKeys);
    this.#sessions.push(sessions);
    return sessions;
  }

  async #hearAll(question: number): Promise<void> {
    await turns();
    this.#flush();
    this.#post({ kind: "heard-all", question }, []);
  }

  async #closeListener(listener: number): Promise<void> {
    await this.#listeners.get(listener)?.running?.close();
    this.#listeners.delete(listener);
    this.#post({ kind: "listener-closed", listener }, []);
  }

  #end(): void {
    this.#beginnings.close();
    this.#context.wheel.close();
    for (const sessions of this.#sessions) sessions.close();
    parentPort?.close();
  }
}

function isJob(data: unknown): data is CarrierJob {
  return typeof data === "object" && data !== null && "limits" in data;
}

const job: unknown = workerData;
if (!isJob(job) || parentPort === null)
  throw new TypeError("a thread that carries connections is given a job");
const port = parentPort;
const carrier = new Carrier(job, (message, memory) => port.postMessage(message, memory));
port.on("message", (message: ToCarrierMessage) => carrier.take(message));
