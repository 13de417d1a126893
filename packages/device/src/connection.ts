import { setTimeout as delay } from "node:timers/promises";

import { MqttClient, type IClientOptions, type IConnackPacket, type Packet } from "mqtt";

import { errorText } from "@postern/core/errors";
import { addressProperty } from "@postern/mqtt/own-properties";

import type { TlsCredentials } from "./credentials.ts";
import { ConnectionError, ServerRefusedError } from "./errors.ts";
import {
  closedEarlyError,
  connackError,
  disconnectError,
  isPassing,
  notMqttError,
  streamError,
  timeoutError,
} from "./explain.ts";
import { toConnectProperties, toWillProperties } from "./mqttjs-properties.ts";
import type { ConnectSettings } from "./settings.ts";
import { SignOfLife } from "./sign-of-life.ts";
import type { Target } from "./target.ts";
import { openTransport, type Transport } from "./transport.ts";

/** How long to wait before connecting again: doubled each time nothing was gained, up to the second. */
const defaultRetryMsMin = 1_000;
const retryMsMax = 30_000;
/** A server that lets us in and closes so many times in a row, with nothing done in between, will not stop doing so. */
const fruitlessMax = 5;
/** How long the server may take to close after our DISCONNECT. */
const closeMs = 2_000;

/** What the user hears of on stderr. */
export interface Reporter {
  /** Always shown. */
  notice(text: string): void;
  /** Shown with --verbose. */
  detail(text: string): void;
}

export interface ConnectionPorts {
  readonly reporter: Reporter;
  /** Ends the connection; everything waiting then rejects with its reason. */
  readonly signal: AbortSignal;
  /** How long to wait before the first attempt to connect again; a second unless given. */
  readonly retryMsMin?: number;
  /** Called before the first packet: the place to hook into the client. */
  prepare?(client: MqttClient): void;
  /** Called after each CONNACK and before any message that follows it. */
  onSession?(sessionPresent: boolean): void;
  /** Called when a lost connection is there again. */
  onReconnected?(sessionPresent: boolean): void;
  /** Called whenever the connection is there. */
  onConnected?(sessionPresent: boolean): void;
  /** Called when a connection broke that is made again. */
  onLost?(cause: Error): void;
  /** Called once, when the connection fails for good. */
  onFailed?(error: Error): void;
}

/** What the server said at CONNACK, with the specification's defaults where it said nothing. @see MQTT 5.0 §3.2.2.3 */
export interface ServerLimits {
  readonly receiveMaximum: number;
  /** `undefined` when the server named none. */
  readonly packetBytesMax: number | undefined;
  readonly maximumQoS: number;
  readonly retainAvailable: boolean;
}

function limitsOf(properties: IConnackPacket["properties"]): ServerLimits {
  return {
    receiveMaximum: properties?.receiveMaximum ?? 65_535,
    packetBytesMax: properties?.maximumPacketSize,
    maximumQoS: properties?.maximumQoS ?? 2,
    retainAvailable: properties?.retainAvailable ?? true,
  };
}

function clientOptions(settings: ConnectSettings, retryMsMin: number): IClientOptions {
  const { protocolVersion, username, password } = settings;
  const properties = protocolVersion === 5 ? { properties: toConnectProperties(settings.properties) } : {};
  return {
    protocolVersion,
    protocolId: protocolVersion === 3 ? "MQIsdp" : "MQTT",
    clientId: settings.clientId,
    clean: settings.clean,
    keepalive: settings.keepAliveSeconds,
    connectTimeout: settings.connectTimeoutMs,
    reconnectPeriod: settings.reconnect ? retryMsMin : 0,
    reconnectOnConnackError: true,
    // What was refused in part would be forgotten altogether; the subscriber does it itself.
    resubscribe: false,
    // Its own log shows whole packets, with the password.
    log: () => {},
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...properties,
    ...(settings.outgoing === undefined
      ? {}
      : { outgoingStore: settings.outgoing, messageIdProvider: settings.outgoing.packetIds() }),
  };
}

/** Has the client leave this will, or none, with its next CONNECT. */
function leaveWill(client: MqttClient, { will, protocolVersion }: ConnectSettings): void {
  const left = will();
  if (left === undefined) delete client.options.will;
  else {
    const properties = protocolVersion === 5 ? toWillProperties(left.properties) : {};
    client.options.will = { ...left, properties };
  }
}

/** Why a signal was aborted; whoever aborts may give anything. */
function reasonOf({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : new DOMException(String(reason), "AbortError");
}

/** Whether a packet has the Packet Identifier that its answer needs. @see MQTT 5.0 §2.2.1 */
export function hasPacketId(packet: Packet): boolean {
  const needsOne = packet.cmd === "pubrel" || (packet.cmd === "publish" && packet.qos > 0);
  return !needsOne || (packet.messageId ?? 0) > 0;
}

/**
 * A connection to a server that is made again when it breaks. Made with `openConnection`.
 *
 *     opening ──CONNACK 0──► connected ◄──► lost (trying again)
 *        │                       │             │
 *        └──────► failed ◄───────┴─────────────┘      ended: by `end`, from anywhere
 */
export class Connection {
  readonly client: MqttClient;
  server: ServerLimits = limitsOf(undefined);

  readonly #settings: ConnectSettings;
  readonly #ports: ConnectionPorts;
  readonly #opened = Promise.withResolvers<void>();
  /** Those who wait in `guard`. */
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #onAbort = () => this.fail(reasonOf(this.#ports.signal));
  #target: Target;
  #state: "opening" | "connected" | "lost" | "failed" | "ended" = "opening";
  #failure: Error | undefined;
  #transport: Transport | undefined;
  /** Of the connection that is open now, or was open last. */
  #tls: TlsCredentials;
  /** Why the connection that is open now, or was open last, ended. The first reason counts. */
  #cause: ConnectionError | ServerRefusedError | undefined;
  /** The loss that was told last; told again only after something was done in between. */
  #toldLoss = "";
  #fruitless = 0;
  readonly #retryMsMin: number;
  #retryMs: number;

  constructor(target: Target, settings: ConnectSettings, ports: ConnectionPorts) {
    this.#target = target;
    this.#settings = settings;
    this.#tls = settings.tls;
    this.#ports = ports;
    this.#retryMsMin = ports.retryMsMin ?? defaultRetryMsMin;
    this.#retryMs = this.#retryMsMin;
    this.client = new MqttClient(
      (client) => this.#openStream(client),
      clientOptions(settings, this.#retryMsMin),
    );
    const signOfLife = new SignOfLife(this.client);
    ports.prepare?.(this.client);
    this.client.on("packetreceive", (packet) => {
      signOfLife.seen(packet);
      this.#onPacket(packet);
    });
    this.client.on("error", (error) => this.#onError(error));
    this.client.on("connect", ({ sessionPresent }) => this.#onConnect(sessionPresent));
    this.client.on("close", () => this.#onClose());
    this.client.on("reconnect", () => this.#onReconnect());
    ports.signal.addEventListener("abort", this.#onAbort);
    if (ports.signal.aborted) this.#onAbort();
  }

  /** The server we are connected to, or were last. */
  get target(): Target {
    return this.#target;
  }

  /** Resolves when the server let us in for the first time; rejects with the reason when it did not. */
  opened(): Promise<void> {
    return this.guard(this.#opened.promise);
  }

  /** `work`, unless the connection fails for good first: then the reason. */
  guard<T>(work: Promise<T>): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    // Not Promise.race: that would keep something of every call for as long as the connection lasts.
    this.#waiting.add(reject);
    const done = () => this.#waiting.delete(reject);
    work.then(resolve, reject).finally(done).catch(reject);
    return promise;
  }

  /** Gives up: everything that waits in `guard` rejects with `error`. Only the first call counts. */
  fail(error: Error): void {
    if (this.#failure !== undefined || this.#state === "ended") return;
    this.#failure = error;
    this.#state = "failed";
    for (const reject of this.#waiting) reject(error);
    this.#ports.onFailed?.(error);
  }

  /** Ends this connection because the server broke the rules; another one is made. */
  offence(problem: string): void {
    this.#onError(new Error(problem));
  }

  /** Ends this connection, so that the next one is made with what has changed. */
  again(reason: string): void {
    this.#cause ??= new ConnectionError(reason, { retry: true });
    this.client.stream.destroy();
  }

  /**
   * Says DISCONNECT where there is a connection and waits until it is closed. Never throws. Returns the server's
   * objection to what was sent last, if it had one.
   */
  async end(options: { readonly discardInput?: boolean } = {}): Promise<ServerRefusedError | undefined> {
    if (this.#state === "ended") return undefined;
    this.#state = "ended";
    this.#ports.signal.removeEventListener("abort", this.#onAbort);
    const { client } = this;
    if (!client.connected) {
      client.end(true);
      return undefined;
    }
    // MQTT.js would wait for acknowledgements that may never come.
    client.outgoing = {};
    const { stream } = client;
    if (options.discardInput === true) {
      // What is held back would hide the end of the stream.
      stream.unpipe();
      stream.resume();
    }
    const closed = new Promise<void>((resolve) => client.end(false, {}, () => resolve()));
    const gaveUp = new AbortController();
    await Promise.race([closed, delay(closeMs, undefined, { signal: gaveUp.signal }).catch(() => {})]);
    gaveUp.abort();
    stream.destroy();
    return this.#cause instanceof ServerRefusedError ? this.#cause : undefined;
  }

  /** MQTT.js makes its CONNECT from the options when it has the stream. */
  #openStream(client: MqttClient): Transport["stream"] {
    this.#cause = undefined;
    leaveWill(client, this.#settings);
    this.#tls = this.#latestTls();
    const transport = openTransport(this.target, { ...this.#settings, tls: this.#tls });
    transport.stream.on("error", (error) => {
      this.#cause ??= streamError(error, this.target, this.#settings);
    });
    this.#transport = transport;
    return transport.stream;
  }

  #latestTls(): TlsCredentials {
    return this.#settings.latestTls?.() ?? this.#settings.tls;
  }

  #onPacket(packet: Packet): void {
    if (packet.cmd === "connack") {
      const code = packet.reasonCode ?? packet.returnCode ?? 0;
      if (code === 0) {
        this.server = limitsOf(packet.properties);
        this.#learnAddress(packet.properties?.userProperties?.[addressProperty]);
        this.#ports.onSession?.(packet.sessionPresent);
        return;
      }
      const refusal = {
        code,
        version: this.#settings.protocolVersion,
        reasonString: packet.properties?.reasonString,
      };
      this.#cause ??= connackError(refusal, this.target, this.#settings);
    } else if (packet.cmd === "disconnect") {
      const code = packet.reasonCode ?? 0;
      const refusal = { code, version: 5, reasonString: packet.properties?.reasonString } as const;
      this.#cause ??= disconnectError(refusal, this.target);
      // It has said its last word; should it not close, we do.
      this.client.stream.end();
    } else if (!hasPacketId(packet)) {
      // MQTT.js breaks on what its parser lets pass here; its answer goes nowhere.
      packet.messageId = 0;
      this.#onError(new Error(`${packet.cmd.toUpperCase()} without a Packet Identifier (MQTT 5.0 §2.2.1)`));
    } else {
      this.#fruitless = 0;
      this.#retryMs = this.#retryMsMin;
      this.client.options.reconnectPeriod = this.#settings.reconnect ? this.#retryMs : 0;
      this.#toldLoss = "";
    }
  }

  #learnAddress(told: string | string[] | undefined): void {
    const [address] = typeof told === "string" ? [told] : (told ?? []);
    if (address !== undefined) this.#transport?.seenFrom?.(address);
  }

  /** Of the stream, already known; or of MQTT.js, about what it received or missed. */
  #onError(error: Error & { readonly code?: unknown }): void {
    if (this.#cause !== undefined || typeof error.code === "string") return;
    if (error.message === "connack timeout") {
      this.#cause = timeoutError(this.target, this.#transport?.phase() ?? "connecting", this.#settings);
    } else if (error.message === "Keepalive timeout") {
      this.#cause = new ConnectionError("the server does not answer any more", { retry: true });
    } else if (this.#state === "opening") {
      this.#cause = notMqttError(error, this.target);
    } else {
      this.#cause = new ConnectionError(`${this.target.url} broke the rules of MQTT: ${errorText(error)}`, {
        retry: true,
        cause: error,
      });
    }
    this.client.stream.destroy();
  }

  #onConnect(sessionPresent: boolean): void {
    const { reporter } = this.#ports;
    const session = sessionPresent ? "the session goes on" : "new session";
    reporter.detail(`connected to ${this.target.url} as ${this.#settings.clientId} (${session})`);
    if (this.#state === "opening") {
      this.#state = "connected";
      this.#opened.resolve();
    } else if (this.#state === "lost") {
      this.#state = "connected";
      reporter.notice(`connected again${sessionPresent ? "" : " (the server kept nothing for us)"}`);
      this.#ports.onReconnected?.(sessionPresent);
    }
    this.#ports.onConnected?.(sessionPresent);
  }

  #onClose(): void {
    const wasOpen = this.#state === "connected";
    const closed = wasOpen
      ? new ConnectionError("the server closed the connection", { retry: true })
      : closedEarlyError(this.target, this.#settings);
    const cause = this.#cause ?? closed;
    this.#cause = cause;
    switch (this.#state) {
      case "opening":
        if (this.#settings.patient === true && this.#mayRetry(cause)) {
          this.#nextTarget();
          break;
        }
        this.fail(cause);
        this.client.end(true);
        break;
      case "connected":
      case "lost":
        this.#onLost(cause, wasOpen);
        break;
      case "failed":
      case "ended":
        break;
      default:
        this.#state satisfies never;
    }
  }

  #mayRetry(cause: ConnectionError | ServerRefusedError): boolean {
    const isRetryable = cause instanceof ServerRefusedError ? isPassing(cause.reasonCode) : cause.retry;
    // A certificate that ended was renewed before.
    return isRetryable || this.#latestTls().cert !== this.#tls.cert;
  }

  /** A server with several addresses may be reached by another one now. */
  #nextTarget(): void {
    const { targets } = this.#settings;
    this.#target = targets[(targets.indexOf(this.#target) + 1) % targets.length] ?? this.#target;
  }

  #onLost(cause: ConnectionError | ServerRefusedError, wasOpen: boolean): void {
    if (wasOpen) this.#fruitless++;
    if (!wasOpen) this.#nextTarget();
    if (!this.#settings.reconnect || !this.#mayRetry(cause)) {
      this.fail(cause);
    } else if (this.#fruitless >= fruitlessMax) {
      const message = `${this.target.url} lets us in and ends the connection ${fruitlessMax} times in a row: ${cause.message}`;
      this.fail(new ConnectionError(message, { retry: false, cause }));
    } else {
      this.#state = "lost";
      if (wasOpen) this.#ports.onLost?.(cause);
      if (cause.message !== this.#toldLoss && wasOpen) {
        this.#toldLoss = cause.message;
        this.#ports.reporter.notice(`connection lost: ${cause.message}; connecting again`);
      } else {
        this.#ports.reporter.detail(`${cause.message}; trying again`);
      }
    }
    if (this.#state === "failed") this.client.end(true);
  }

  /** MQTT.js reads the period when the connection closes: this sets the next one, a fifth more or less so that not all come at once. */
  #onReconnect(): void {
    this.#retryMs = Math.min(this.#retryMs * 2, retryMsMax);
    this.client.options.reconnectPeriod = Math.round(this.#retryMs * (0.8 + 0.4 * Math.random()));
  }
}

/**
 * Connects to the first of the targets that can be reached.
 * @throws {ConnectionError} when none can, {ServerRefusedError} when the server does not let us in, the reason of `ports.signal`.
 */
export async function openConnection(settings: ConnectSettings, ports: ConnectionPorts): Promise<Connection> {
  let first: ConnectionError | undefined;
  for (const target of settings.targets) {
    const connection = new Connection(target, settings, ports);
    try {
      await connection.opened();
      return connection;
    } catch (thrown) {
      await connection.end();
      if (!(thrown instanceof ConnectionError)) throw thrown;
      first ??= thrown;
      if (settings.targets.length > 1) ports.reporter.detail(thrown.message);
    }
  }
  throw first ?? new Error("a connection without a target");
}
