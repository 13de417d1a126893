import { EventEmitter } from "node:events";

import type { Properties, QoS } from "@postern/mqtt/packets";
import { ReasonCode } from "@postern/mqtt/reason-codes";
import { isTopicFilter, isTopicName, parseSharedFilter } from "@postern/mqtt/topics";

import { Connection } from "./connection.ts";
import { ClosedError, DeviceFileError, ServerRefusedError, reasonText } from "./errors.ts";
import { BackgroundRenewal } from "./est/background-renewal.ts";
import { Inbound, type FilterEntry, type Inspect } from "./inbound.ts";
import type { Message } from "./message.ts";
import type { ConnectOptions, PublishOptions, StatusOptions, SubscribeOptions } from "./options.ts";
import { Outbound, type OutgoingMessage, type Published } from "./outbound.ts";
import { keysRule, type Refusal, type Sealing } from "./sealing/sealing.ts";
import type { ConnectSettings } from "./settings.ts";
import { Subscription } from "./subscription.ts";

const subscriptionsMax = 1_000;

export interface DeviceEvents {
  /** The server let us in. Without `sessionPresent` it knew nothing of us: it was subscribed again. */
  connected: [{ readonly url: string; readonly sessionPresent: boolean }];
  /** The connection broke, for this reason; it is made again. */
  lost: [Error];
  /** Nothing more will come: without an error after `close()`. */
  closed: [Error | undefined];
  /** A message with QoS 0 was dropped, as too many wait for the loop over this filter. */
  dropped: [filter: string];
  /** A message was not delivered: it is not sealed as its topic demands, not authentic, or came before. */
  refused: [Refusal];
  /** New keys of our groups came, and are in use: the number of their package. */
  keys: [number];
  /** A message came that nobody subscribed to in this process. */
  unclaimed: [Message];
  /** A subscription is not renewed on a new session, or the status is not taken. */
  warning: [Error];
  /** The certificate was renewed and is good until then. */
  renewed: [Date];
  /** The certificate could not be renewed; it is tried again. */
  renewalFailed: [Error];
}

export type DeviceState = "connecting" | "connected" | "lost" | "closed";

export interface DeviceParts {
  readonly name: string;
  readonly settings: ConnectSettings;
  readonly status: Required<StatusOptions> | undefined;
  readonly sealing: Sealing | undefined;
  readonly renewal: { readonly path: string; readonly name: string } | undefined;
  readonly options: ConnectOptions;
}

interface Wanted {
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

/** A device that is connected, and stays so until it is closed. Made with `connect`. */
export class Device extends EventEmitter<DeviceEvents> implements AsyncDisposable {
  /** What the server knows it by. */
  readonly name: string;
  readonly #parts: DeviceParts;
  readonly #abort = new AbortController();
  readonly #inbound: Inbound;
  readonly #outbound: Outbound;
  readonly #wanted = new Map<string, Wanted>();
  readonly #subscriptions = new Set<Subscription>();
  readonly #connection: Connection;
  #renewal: BackgroundRenewal | undefined;
  #state: DeviceState = "connecting";
  #toldOfKey = false;
  #refusedCount = 0;
  #closing: Promise<void> | undefined;

  constructor(parts: DeviceParts) {
    super();
    const { options, settings } = parts;
    this.name = parts.name;
    this.#parts = parts;
    this.#inbound = new Inbound({
      inspect: (message, how) => this.#inspect(message, how),
      receiveMaximum: settings.properties.receiveMaximum ?? 65_535,
      unclaimedMs: 30_000,
      onUnclaimed: (message) => this.emit("unclaimed", message),
      onOffence: (problem) => this.#connection.offence(problem),
    });
    this.#outbound = new Outbound(() => this.#connection, options.queueMax ?? 1_000);
    const { retryMsMin } = options;
    const [target] = settings.targets;
    if (target === undefined) throw new TypeError("a device without a server");
    this.#connection = new Connection(target, settings, {
      reporter: { notice: () => {}, detail: () => {} },
      signal: this.#abort.signal,
      ...(retryMsMin === undefined ? {} : { retryMsMin }),
      prepare: (client) => {
        this.#inbound.attach(client);
        this.#outbound.attach(client);
      },
      onSession: (sessionPresent) => this.#inbound.onSession(sessionPresent),
      onConnected: (sessionPresent) => this.#onConnected(sessionPresent),
      onLost: (cause) => {
        this.#state = "lost";
        this.emit("lost", cause);
      },
      onFailed: (error) => this.#endBecause(error),
    });
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  get state(): DeviceState {
    return this.#state;
  }

  /** How many messages were not delivered; see the event `refused`. */
  get refusedCount(): number {
    return this.#refusedCount;
  }

  /** How many published messages are not acknowledged. */
  get unacknowledged(): number {
    return this.#outbound.unacknowledged;
  }

  /** Resolves when the server let us in, or at once where that is not waited for. */
  async open(): Promise<void> {
    const { options, renewal } = this.#parts;
    if (options.offline !== true) await this.#connection.opened();
    if (renewal === undefined) return;
    this.#renewal = BackgroundRenewal.start({
      ...renewal,
      onRenewed: ({ notAfterMs }) => {
        const key = this.#parts.settings.latestTls?.().key;
        if (key !== undefined) this.#parts.sealing?.renewKey(key);
        void this.#tellOfNewKey();
        this.emit("renewed", new Date(notAfterMs));
      },
      onFailed: (error) => this.emit("renewalFailed", error),
    });
  }

  /**
   * Publishes a message. Resolves when the server has acknowledged it, over a later connection where this one breaks; with QoS 0 when it
   * was sent, or dropped where there is no connection.
   * @throws {SealError}, {PublishRefusedError}, {BeyondServerLimitError}, {QueueFullError}, {ClosedError}, and the reason of `options.signal`.
   */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): Promise<Published> {
    if (!isTopicName(topic)) throw new TypeError(`"${topic}" is not a topic to publish to`);
    const { qos = 1, retain = false, signal } = options;
    const properties: Properties = { ...options.properties };
    if (options.expirySeconds !== undefined) properties.messageExpiryInterval = options.expirySeconds;
    const bytes = typeof payload === "string" ? Buffer.from(payload, "utf8") : Buffer.from(payload);
    return this.#send({ topic, payload: bytes, qos, retain, properties }, signal);
  }

  async #send(message: OutgoingMessage, signal?: AbortSignal): Promise<Published> {
    const { sealing } = this.#parts;
    return this.#outbound.publish(sealing === undefined ? message : await sealing.seal(message), signal);
  }

  #inspect(message: Message, { identifiers, isLast }: Parameters<Inspect>[1]): ReturnType<Inspect> {
    const { sealing } = this.#parts;
    if (sealing === undefined) return { message, settled: () => {} };
    if (message.topic === sealing.keysTopic) {
      const problem = this.#orWarn(() => sealing.takeKeys(message.topic, message.payload));
      if (problem === undefined) this.#onKeys(sealing);
      else this.#refuse(problem);
      return undefined;
    }
    const opening = sealing.open(message, identifiers);
    if (opening.kind === "message")
      return { message: opening.message, settled: () => this.#orWarn(opening.settled) };
    if (opening.mayOpenLater && !isLast) return "later";
    this.#refuse(opening.refusal);
    return undefined;
  }

  #onKeys(sealing: Sealing): void {
    this.emit("keys", sealing.keysSerial);
    this.#inbound.inspectAgain();
    const { status } = this.#parts;
    if (status !== undefined && sealing.couldLeaveWill(status.topic))
      this.#connection.again("the keys have come that the status is sealed with");
  }

  /** A full disk must not end the device: what cannot be written is tried again with the next message. */
  #orWarn<Result>(work: () => Result): Result | undefined {
    try {
      return work();
    } catch (thrown) {
      if (!(thrown instanceof DeviceFileError)) throw thrown;
      this.emit("warning", thrown);
      return undefined;
    }
  }

  #refuse(refusal: Refusal): void {
    this.#refusedCount++;
    this.emit("refused", refusal);
  }

  /**
   * Subscribes to a filter. The messages come to whoever loops over what is returned; `ready` tells when the server has granted it.
   * The loop rejects with {ServerRefusedError} when it does not, and with the reason of `options.signal`.
   */
  subscribe(filter: string, options: SubscribeOptions = {}): Subscription {
    const legal = isTopicFilter(filter) && parseSharedFilter(filter) !== "invalid";
    if (!legal) throw new TypeError(`"${filter}" is not a topic filter`);
    if (this.#subscriptions.size >= subscriptionsMax)
      throw new RangeError(`more than ${subscriptionsMax} subscriptions at a time`);
    if (this.#closing !== undefined) throw new ClosedError("the device is closed");
    const { signal, keep, qos = 1, noLocal = false, retainHandling = 0 } = options;
    const onAbort = (): void => {
      const reason: unknown = signal?.reason;
      subscription.fail(reason instanceof Error ? reason : new DOMException("aborted", "AbortError"));
    };
    const subscription = new Subscription({
      filter,
      bufferMax: options.bufferMax ?? 1_000,
      onDropped: () => this.emit("dropped", filter),
      onEnd: () => {
        signal?.removeEventListener("abort", onAbort);
        this.#subscriptions.delete(subscription);
        const last = this.#inbound.drop(filter, subscription);
        if (!last) return;
        this.#wanted.delete(filter);
        if (keep !== true && this.#connection.client.connected) this.#connection.client.unsubscribe(filter);
      },
    });
    this.#subscriptions.add(subscription);
    const entry = this.#inbound.entry(filter);
    const before = this.#wanted.get(filter);
    this.#wanted.set(filter, {
      qos: before !== undefined && before.qos > qos ? before.qos : qos,
      noLocal,
      retainHandling,
    });
    this.#inbound.claim(entry, subscription);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
    else if (this.#state === "connected") this.#subscribe(entry);
    return subscription;
  }

  /** Asks the server for a filter; what it says goes to those who loop over it. */
  #subscribe(entry: FilterEntry): void {
    const { filter, identifier } = entry;
    const wanted = this.#wanted.get(filter);
    if (wanted === undefined) return;
    const { client } = this.#connection;
    const { qos, noLocal: nl, retainHandling: rh } = wanted;
    this.#parts.sealing?.beginRetained(identifier);
    const options = { qos, nl, rh, rap: false, properties: { subscriptionIdentifier: identifier } };
    client.subscribe(filter, options, (_error, _grants, packet) => {
      // Without an answer the connection broke: it is asked again on the next one.
      if (packet === undefined) return;
      const code = Number(packet.granted[0] ?? ReasonCode.unspecifiedError);
      if (code < 0x80) {
        for (const subscription of entry.subscriptions) subscription.grant(code);
        return;
      }
      const text = `the server refused the subscription to "${filter}": ${reasonText(code)}`;
      const error = new ServerRefusedError(text, code);
      for (const subscription of entry.subscriptions) subscription.fail(error);
    });
  }

  #onConnected(sessionPresent: boolean): void {
    this.#state = "connected";
    this.#subscribeToKeys();
    if (!this.#toldOfKey) void this.#tellOfNewKey();
    for (const entry of this.#inbound.entries()) this.#subscribe(entry);
    const { status } = this.#parts;
    if (status !== undefined) void this.#say(status.online, status);
    this.emit("connected", { url: this.#connection.target.url, sessionPresent });
  }

  /** The server's newest package of keys is retained there. */
  #subscribeToKeys(): void {
    const { sealing } = this.#parts;
    const topic = sealing?.keysTopic;
    if (sealing === undefined || topic === undefined) return;
    const { client } = this.#connection;
    client.subscribe(topic, { qos: 1 }, (_error, _grants, packet) => {
      const code = Number(packet?.granted[0] ?? 0);
      if (code >= 0x80) {
        const text = `the server refused to give us keys on "${topic}": ${reasonText(code)}; ${keysRule}`;
        this.emit("warning", new ServerRefusedError(text, code));
      }
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    // The server answers in order: with the answer to a second one, the first one's retained message is there.
    client.subscribe(topic, { qos: 1, rh: 2 }, () => resolve());
    sealing.keysAsked(promise);
  }

  /** Our key authority must know the key of our newest certificate, or what we sign soon counts for nothing. */
  async #tellOfNewKey(): Promise<void> {
    this.#toldOfKey = true;
    const succession = this.#parts.sealing?.succession;
    if (succession === undefined) return;
    try {
      const message = { ...succession, qos: 1, retain: true, properties: {} } as const;
      await this.#outbound.publish(message, undefined);
    } catch (thrown) {
      if (this.#closing === undefined && thrown instanceof Error) this.emit("warning", thrown);
    }
  }

  async #say(text: string, { topic }: StatusOptions): Promise<void> {
    if (topic === undefined) return;
    const payload = Buffer.from(text, "utf8");
    try {
      await this.#send({ topic, payload, qos: 1, retain: true, properties: {} });
    } catch (thrown) {
      if (this.#closing === undefined && thrown instanceof Error) this.emit("warning", thrown);
    }
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#parts.options.signal?.reason;
    this.#endBecause(reason instanceof Error ? reason : new DOMException("aborted", "AbortError"));
  };

  #endBecause(cause: Error): void {
    this.#end(cause).catch((thrown: unknown) => {
      if (thrown instanceof Error) this.emit("warning", thrown);
    });
  }

  /**
   * Disconnects: says "offline" where there is a status, and ends all loops. What was published and not acknowledged rejects, and what was
   * received and not taken comes again in the next connection of the session.
   */
  close(): Promise<void> {
    return this.#end(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #end(cause: Error | undefined): Promise<void> {
    // Later than this line: what it aborts comes back here.
    this.#closing ??= Promise.resolve().then(() => this.#close(cause));
    return this.#closing;
  }

  async #close(error: Error | undefined): Promise<void> {
    const { status, options } = this.#parts;
    options.signal?.removeEventListener("abort", this.#onAbort);
    this.#renewal?.[Symbol.dispose]();
    if (status !== undefined && this.#state === "connected") await this.#sayGoodbye(status);
    this.#state = "closed";
    for (const subscription of this.#subscriptions) {
      if (error === undefined) subscription.close();
      else subscription.fail(error);
    }
    this.#subscriptions.clear();
    this.#outbound.fail(
      error ?? new ClosedError("the device was closed before the message was acknowledged"),
    );
    this.#inbound.close();
    this.#abort.abort(error ?? new ClosedError("the device was closed"));
    await this.#connection.end();
    await this.#parts.sealing?.close();
    this.emit("closed", error);
  }

  /** Where the server is gone, its own will says it. */
  async #sayGoodbye(status: Required<StatusOptions>): Promise<void> {
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), 2_000);
    await Promise.race([
      this.#say(status.offline, status),
      new Promise<void>((resolve) => over.signal.addEventListener("abort", () => resolve(), { once: true })),
    ]);
    clearTimeout(timer);
  }
}
