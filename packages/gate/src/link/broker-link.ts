import { connect } from "node:net";

import type { Log } from "@postern/core/log";
import { ipSource, type IpAddress, type IpSource } from "@postern/knock/ip-address";

import { LineChannel } from "./line-channel.ts";
import {
  devicesPerMessage,
  fromGateSchema,
  linkProtocol,
  type FailureKind,
  type FromGate,
  type LinkDevice,
  type ToGateInput,
} from "./messages.ts";

/** How long the gate may be away before it is looked for again. */
const retryMs = 200;
/** A client that came within the window may need some time for its handshake and CONNECT. */
const graceMs = 10_000;
/** Failures that are told of one source within a second. */
const failuresPerSecondMax = 20;

/** A window as the broker knows it. */
interface KnownWindow {
  readonly id: number;
  readonly device: string | undefined;
  readonly certBind: string | undefined;
  readonly untilMs: number;
}

/** A connection of a device, as the gate is told. */
export interface LiveConnection {
  readonly device: string;
  readonly address: IpAddress;
}

/** What the broker tells the gate whenever they find each other. */
export interface BrokerLinkSource {
  devices(): Iterable<LinkDevice>;
  connections(): Iterable<LiveConnection>;
}

export interface BrokerLinkOptions {
  /** The gate's Unix socket. */
  readonly path: string;
  readonly source: BrokerLinkSource;
  readonly nowMs: () => number;
  readonly log: Log;
}

/**
 * The broker's end of the gate's socket: knows who knocked from where, and tells the gate what happens to them. It finds the gate again
 * when either was away; meanwhile it knows the windows it was told of, and no others.
 */
export class BrokerLink implements Disposable {
  readonly #options: BrokerLinkOptions;
  readonly #windows = new Map<IpAddress, Map<number, KnownWindow>>();
  readonly #addressOf = new Map<number, IpAddress>();
  readonly #failures = new Map<IpSource, number>();
  #failureSecond = 0;
  #channel: LineChannel | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #mismatch = false;
  #exposed = false;

  constructor(options: BrokerLinkOptions) {
    this.#options = options;
    this.#connect();
  }

  get connected(): boolean {
    return this.#channel !== undefined;
  }

  /**
   * Whether a connection from this address may be let in: by a device that knocked from there, with the certificate it said (the first 6
   * bytes of SHA-256 over its public key, in hexadecimal digits). `device` is `undefined` while nobody knows yet: then whether anybody knocked.
   */
  admits(address: IpAddress, device: string | undefined, certBind: string | undefined): boolean {
    return this.#someWindow(
      address,
      (window) => device === undefined || (window.device === device && fits(window.certBind, certBind)),
    );
  }

  /** Whether somebody who has shown this certificate, or none, and has not said yet who he is, can be a device that knocked from there. */
  mayBe(address: IpAddress, certBind: string | undefined): boolean {
    return this.#someWindow(address, (window) => fits(window.certBind, certBind));
  }

  /** Whether somebody of these knocked from there. */
  admitsSome(address: IpAddress, which: (device: string) => boolean): boolean {
    return this.#someWindow(address, ({ device }) => device !== undefined && which(device));
  }

  #someWindow(address: IpAddress, suits: (window: KnownWindow) => boolean): boolean {
    if (this.#exposed) return false;
    const nowMs = this.#options.nowMs();
    for (const [id, window] of this.#windows.get(address) ?? []) {
      if (window.untilMs + graceMs < nowMs) this.#forget(id);
      else if (window.device === undefined || suits(window)) return true;
    }
    return false;
  }

  connectedDevice(connection: LiveConnection): void {
    this.#send({ kind: "connected", ...connection });
  }

  disconnectedDevice(connection: LiveConnection): void {
    this.#send({ kind: "disconnected", ...connection });
  }

  /** Somebody there failed to prove who he is. */
  failed(address: IpAddress, cause: FailureKind): void {
    const second = Math.floor(this.#options.nowMs() / 1_000);
    if (second !== this.#failureSecond) this.#failures.clear();
    this.#failureSecond = second;
    const source = ipSource(address);
    const count = this.#failures.get(source) ?? 0;
    if (count >= failuresPerSecondMax) return;
    this.#failures.set(source, count + 1);
    this.#send({ kind: "failure", address, cause });
  }

  /** A device was added or changed. */
  device(device: LinkDevice): void {
    this.#send({ kind: "device", device });
  }

  /** A device was removed or revoked. */
  forget(device: string): void {
    for (const [address, windows] of this.#windows) {
      for (const { id, device: owner } of windows.values()) if (owner === device) this.#forget(id);
      if (windows.size === 0) this.#windows.delete(address);
    }
    this.#send({ kind: "forget", device });
  }

  /** Tells all devices again, after more of them changed than one. */
  refresh(): void {
    if (this.#channel !== undefined) this.#sendDevices();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#channel?.end("closed");
  }

  #send(message: ToGateInput): void {
    this.#channel?.send(message);
  }

  #connect(): void {
    const socket = connect(this.#options.path);
    let welcome = false;
    const channel: LineChannel = new LineChannel(
      socket,
      (value) => {
        const message = fromGateSchema.safeParse(value);
        if (!message.success) {
          this.#options.log.error(
            {},
            "the gate says what this version does not understand: are both the same version?",
          );
          channel.end("not JSON");
          return;
        }
        if (welcome) return this.#receive(message.data);
        welcome = message.data.kind === "welcome" && message.data.protocol === linkProtocol;
        if (welcome) this.#welcomed(channel);
        else this.#refuse(channel);
      },
      () => this.#ended(channel),
    );
    socket.once("connect", () => channel.send({ kind: "hello", protocol: linkProtocol, role: "broker" }));
  }

  #refuse(channel: LineChannel): void {
    if (!this.#mismatch) this.#options.log.error({ ours: linkProtocol }, "the gate is of another version");
    this.#mismatch = true;
    channel.end("closed");
  }

  #welcomed(channel: LineChannel): void {
    this.#channel = channel;
    this.#mismatch = false;
    // The gate tells again what is open. One that was started anew counts its windows from the beginning.
    this.#windows.clear();
    this.#addressOf.clear();
    this.#exposed = false;
    this.#options.log.info({}, "the gate is there");
    this.#sendDevices();
    for (const connection of this.#options.source.connections()) this.#send({ kind: "live", ...connection });
  }

  #sendDevices(): void {
    let first = true;
    let part: LinkDevice[] = [];
    for (const device of this.#options.source.devices()) {
      if (part.length === devicesPerMessage) {
        this.#send({ kind: "devices", first, last: false, devices: part });
        first = false;
        part = [];
      }
      part.push(device);
    }
    this.#send({ kind: "devices", first, last: true, devices: part });
  }

  #ended(channel: LineChannel): void {
    if (this.#channel === channel) {
      this.#channel = undefined;
      if (!this.#closed) this.#options.log.warn({}, "the gate is away; nobody new can come until it is back");
    }
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.#connect(), retryMs);
    this.#timer.unref();
  }

  #receive(message: FromGate): void {
    switch (message.kind) {
      case "window": {
        const { id, replaces, address, device, certBind, untilMs } = message;
        if (replaces !== null) this.#forget(replaces);
        const windows = this.#windows.get(address) ?? new Map<number, KnownWindow>();
        windows.set(id, { id, device: device ?? undefined, certBind: certBind ?? undefined, untilMs });
        this.#windows.set(address, windows);
        this.#addressOf.set(id, address);
        this.#send({ kind: "acknowledge", id });
        return;
      }
      case "close":
        return this.#close(message.id);
      case "exposed":
        this.#exposed = message.exposed;
        return;
      case "welcome":
      case "answer":
        return;
    }
    message satisfies never;
  }

  /** Forgets a window at once, unless its time is over: who came in time may still be on the way through TLS and CONNECT. */
  #close(id: number): void {
    const window = this.#find(id);
    if (window === undefined || window.untilMs > this.#options.nowMs()) return this.#forget(id);
    setTimeout(() => {
      // A new gate counts from the beginning: the number may be another window's by now.
      if (this.#find(id) === window) this.#forget(id);
    }, graceMs).unref();
  }

  #find(id: number): KnownWindow | undefined {
    const address = this.#addressOf.get(id);
    return address === undefined ? undefined : this.#windows.get(address)?.get(id);
  }

  #forget(id: number): void {
    const address = this.#addressOf.get(id);
    if (address === undefined) return;
    this.#addressOf.delete(id);
    const windows = this.#windows.get(address);
    windows?.delete(id);
    if (windows?.size === 0) this.#windows.delete(address);
  }
}

/** A device that said which certificate it will show must show it; one that connects without a certificate said none. */
function fits(said: string | undefined, shown: string | undefined): boolean {
  return said === undefined || said === shown;
}
