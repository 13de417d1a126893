import assert from "node:assert/strict";
import type { EventLoopUtilization } from "node:perf_hooks";
import { Worker } from "node:worker_threads";

import type { Log } from "@postern/core/log";

import type { Admission, Gate } from "../listeners/admission.ts";
import { type Accept, limitsAndGate, type ListenerOptions } from "../listeners/listener.ts";
import type { Resumption, TicketKeys } from "../listeners/tls-sessions.ts";
import type { Limits } from "../limits.ts";
import type { AuditLog, Peer, TlsMaterial } from "../ports.ts";
import { Batch, FromCarrier, memoryOf, readBatch, Returns, takeBack, ToCarrier } from "./batch.ts";
import type {
  Arrival,
  BatchMessage,
  CarrierJob,
  FromCarrierMessage,
  Introduction,
  MaterialCopy,
  ToCarrierMessage,
} from "./messages.ts";
import { RemoteConnection, type RemoteLink } from "./remote-connection.ts";

/** The sources run as they are; a bundle brings the thread's code as a file of the same name beside itself. */
const threadUrl = new URL(
  `./carrier-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`,
  import.meta.url,
);

/** How much is taken in before the other thread is told. */
const tellBytes = 131_072;

/** What the threads that carry connections need of the broker. */
export interface CarrierHost {
  readonly limits: Limits;
  readonly admission: Admission;
  readonly accept: Accept;
  readonly log: Log;
  readonly audit: AuditLog;
  /** Connections that there were since the start. */
  readonly acceptedCount: () => number;
  /** Connections that there are. */
  readonly connectionCount: () => number;
}

/** A listener of the other thread. */
interface Listening {
  readonly options: ListenerOptions;
  readonly limits: Limits;
  readonly gate: Gate<RemoteConnection>;
  readonly opened: PromiseWithResolvers<void>;
  readonly closed: PromiseWithResolvers<void>;
  connectionCount: number;
}

/** The first thread's end of one that carries connections. When that dies, so does this process: what it had is lost. */
export class Carrier {
  readonly #host: CarrierHost;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #listeners = new Map<number, Listening>();
  readonly #connections = new Map<number, RemoteConnection>();
  #batch = new Batch();
  readonly #returns = new Returns();
  #scheduled = false;
  #takenBytes = 0;
  #closing = false;
  readonly #onFlush = (): void => {
    this.#scheduled = false;
    this.#flush();
  };
  readonly #questions = new Map<number, () => void>();
  #lastQuestion = 0;
  readonly #batchNow = (): Batch => {
    if (this.#batch.isFull) this.#flush();
    if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(this.#onFlush);
    }
    return this.#batch;
  };

  readonly #link: RemoteLink = {
    batch: this.#batchNow,
    heardAll: () => this.#hearAll(),
    forget: (connection) => this.#forget(connection),
  };

  constructor(host: CarrierHost) {
    this.#host = host;
    this.#worker = new Worker(threadUrl, { workerData: { limits: host.limits } satisfies CarrierJob });
    this.#worker.on("message", (message: FromCarrierMessage) => this.#take(message));
    this.#exited = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        assert(this.#closing, "a thread that carries connections ended");
        resolve();
      });
    });
    // Ours keep the process alive; at the end it is waited for.
    this.#worker.unref();
  }

  /** @throws the system's error when it cannot listen there. */
  async listen(
    listener: number,
    options: ListenerOptions,
    ticketKeys: TicketKeys | undefined,
  ): Promise<void> {
    const { tls, psk: _psk, ...rest } = options;
    const { limits, counted } = limitsAndGate(options, this.#host.limits);
    const listening: Listening = {
      options,
      limits,
      gate: { ...counted, start: (admitted) => admitted.socket.begin(admitted) },
      opened: Promise.withResolvers(),
      closed: Promise.withResolvers(),
      connectionCount: 0,
    };
    this.#listeners.set(listener, listening);
    const material = tls === undefined ? undefined : copyOf(tls());
    this.#post({ kind: "listen", listener, options: rest, material, ticketKeys });
    await listening.opened.promise;
  }

  /** What the thread has had to do since it was started. */
  utilization(): EventLoopUtilization {
    return this.#worker.performance.eventLoopUtilization();
  }

  connectionCountOf(listener: number): number {
    return this.#listeners.get(listener)?.connectionCount ?? 0;
  }

  reloadTls(listener: number, material: TlsMaterial): void {
    this.#post({ kind: "reload-tls", listener, material: copyOf(material) });
  }

  useTicketKeys(resumption: Resumption, ticketKeys: TicketKeys): void {
    this.#post({ kind: "ticket-keys", resumption, ticketKeys });
  }

  /** Stops accepting; resolves when no connection of the listener is left. */
  async closeListener(listener: number): Promise<void> {
    const listening = this.#listeners.get(listener);
    if (listening === undefined) return;
    this.#worker.ref();
    // It may be opening just now, and not come to that.
    await listening.opened.promise.then(
      () => this.#post({ kind: "close-listener", listener }),
      () => listening.closed.resolve(),
    );
    await listening.closed.promise;
  }

  cutListener(listener: number): void {
    this.#post({ kind: "cut-listener", listener });
  }

  /** Ends the thread. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#worker.ref();
    this.#post({ kind: "end" });
    await this.#exited;
  }

  /** Resolves when all that its sockets have by now was handed over. */
  #hearAll(): Promise<void> {
    this.#lastQuestion += 1;
    const question = this.#lastQuestion;
    this.#post({ kind: "hear-all", question });
    return new Promise((resolve) => this.#questions.set(question, resolve));
  }

  #post(message: ToCarrierMessage, memory: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, memory);
  }

  #flush(): void {
    const returned = this.#returns.take();
    if (this.#batch.isEmpty && returned.length === 0) return;
    const handed = this.#batch.take();
    this.#post({ kind: "batch", handed, returned }, [...memoryOf(handed), ...returned]);
  }

  #take(message: FromCarrierMessage): void {
    const { log, audit } = this.#host;
    switch (message.kind) {
      case "batch":
        this.#takeBatch(message);
        break;
      case "listening":
        this.#listeners.get(message.listener)?.opened.resolve();
        break;
      case "not-listening": {
        const error = Object.assign(new Error(message.message), { code: message.code });
        this.#listeners.get(message.listener)?.opened.reject(error);
        this.#listeners.delete(message.listener);
        break;
      }
      case "listener-closed":
        this.#listeners.get(message.listener)?.closed.resolve();
        break;
      case "heard-all":
        this.#questions.get(message.question)?.();
        this.#questions.delete(message.question);
        break;
      case "staple":
        void this.#staple(message.listener, message.question);
        break;
      case "audit":
        audit.record(message.event);
        break;
      case "log":
        log[message.level](message.fields, message.message);
        break;
      default:
        message satisfies never;
    }
  }

  #takeBatch({ handed, returned }: BatchMessage): void {
    takeBack(returned);
    readBatch(handed, this.#returns, this.#onRecord);
    if (this.#returns.areMany) this.#batchNow();
  }

  readonly #onRecord = (kind: number, number: number, value: number, bytes: Buffer): void => {
    if (kind === FromCarrier.arrived) this.#arrived(number, value, bytes);
    else this.#takeRecord(kind, number, value, bytes);
  };

  #takeRecord(kind: number, number: number, value: number, bytes: Buffer): void {
    const connection = this.#connections.get(number);
    if (kind === FromCarrier.data || kind === FromCarrier.dataBody) this.#count(bytes.length);
    if (connection === undefined) return;
    switch (kind) {
      case FromCarrier.data:
      case FromCarrier.dataBody:
        connection.data(bytes);
        break;
      case FromCarrier.written:
        connection.written(value);
        break;
      case FromCarrier.look:
        connection.looked();
        break;
      case FromCarrier.gathered:
        connection.gathered(value);
        break;
      case FromCarrier.ready:
        this.#ready(connection, bytes);
        break;
      case FromCarrier.end:
        connection.clientEnded();
        break;
      case FromCarrier.closed:
        connection.closed();
        break;
      case FromCarrier.gone:
        this.#left(connection);
        break;
    }
  }

  #count(bytes: number): void {
    this.#takenBytes += bytes;
    if (this.#takenBytes < tellBytes) return;
    this.#batchNow().add(ToCarrier.taken, 0, this.#takenBytes);
    this.#takenBytes = 0;
  }

  #arrived(number: number, listener: number, bytes: Buffer): void {
    const listening = this.#listeners.get(listener);
    assert(listening !== undefined);
    const arrival: Arrival = JSON.parse(bytes.toString());
    const connection = new RemoteConnection(this.#link, number, listener, arrival);
    listening.connectionCount += 1;
    this.#connections.set(number, connection);
    this.#host.admission.enter(connection, listening.gate);
  }

  #ready(connection: RemoteConnection, bytes: Buffer): void {
    const listening = this.#listeners.get(connection.listener);
    const { admitted } = connection;
    assert(listening !== undefined && admitted !== undefined);
    const introduction: Introduction = JSON.parse(bytes.toString());
    const peer = peerOf(listening.options, connection, introduction);
    connection.attach(this.#host.accept(connection, peer, listening.limits, admitted));
  }

  #left(connection: RemoteConnection): void {
    const listening = this.#listeners.get(connection.listener);
    if (listening !== undefined) listening.connectionCount -= 1;
    connection.gone();
    this.#forget(connection);
  }

  #forget(connection: RemoteConnection): void {
    if (!connection.isOver) return;
    connection.settle();
    this.#connections.delete(connection.number);
  }

  async #staple(listener: number, question: number): Promise<void> {
    const answer = await this.#listeners.get(listener)?.options.tls?.().staple?.();
    this.#post({ kind: "stapled", question, answer });
  }
}

function copyOf({ context, requestCertificate, staple }: TlsMaterial): MaterialCopy {
  return { context, requestCertificate, staples: staple !== undefined };
}

/** Who is at the other end, as `peerOf` of a socket would say it. */
function peerOf(
  { name, anonymous, confidential, sealedPasswords }: ListenerOptions,
  { remoteAddress, remotePort }: RemoteConnection,
  { certificate, intermediates, certificateError }: Introduction,
): Peer {
  return {
    listener: name,
    anonymousAllowed: anonymous,
    confidential,
    sealedPasswords,
    address: remoteAddress,
    port: remotePort,
    pskIdentity: undefined,
    certificate: certificate === undefined ? undefined : Buffer.from(certificate, "base64"),
    intermediates: () => intermediates.map((der) => Buffer.from(der, "base64")),
    certificateError,
  };
}
