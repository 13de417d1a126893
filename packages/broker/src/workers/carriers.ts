import { createServer } from "node:net";
import { performance } from "node:perf_hooks";

import { errorText } from "@postern/core/errors";

import {
  type ListenerHost,
  type ListenerOptions,
  type RunningListener,
  startListener,
} from "../listeners/listener.ts";
import type { Transport } from "../transport.ts";
import { Carrier, type CarrierHost } from "./carrier.ts";
import { LoopShare } from "./loop-share.ts";
import { RemoteConnection } from "./remote-connection.ts";
import { SharedListener } from "./shared-listener.ts";
import { turns } from "./turns.ts";

/** How often threads that are started when they are needed are asked what they have to do. */
const lookMs = 500;
/** A thread is busy that had something to do in so much of this time: with more, those wait for each other who could be served at once. */
const busyShare = 0.6;
/** For fewer connections than these, those that are and those that came since the last look, no thread is started: a server that starts is busy too. */
const connectionsMin = 8;

/** Whether other threads can carry the connections of a listener: what they would have to ask for in the middle of a handshake stays here. */
function canBeCarried({ kind, psk, resumption }: ListenerOptions): boolean {
  return kind !== "unix" && psk === undefined && resumption?.ids !== true;
}

/** How many threads carry connections beside the first. */
export interface CarriersPlan {
  readonly countMax: number;
  /** They start one by one, each when all that run are busy; otherwise all at once. */
  readonly whenBusy: boolean;
}

/**
 * Threads that carry connections beside the first one, which decides everything: sessions, permissions, limits and the store are
 * there and nowhere else. All of them listen on the same ports, and the kernel spreads connections over them.
 */
export class Carriers {
  readonly #countMax: number;
  readonly #carriers: Carrier[] = [];
  readonly #shares = new Map<Carrier | undefined, LoopShare>();
  readonly #host: ListenerHost;
  readonly #carrierHost: CarrierHost;
  readonly #listeners = new Map<number, SharedListener>();
  #lastListener = 0;
  /** Connections that had come when it was looked last. */
  #accepted = 0;
  readonly #watch: NodeJS.Timeout | undefined;
  #starting: Promise<void> | undefined = undefined;

  constructor({ countMax, whenBusy }: CarriersPlan, host: ListenerHost, carrierHost: CarrierHost) {
    this.#countMax = countMax;
    this.#host = host;
    this.#carrierHost = carrierHost;
    this.#shares.set(undefined, new LoopShare(() => performance.eventLoopUtilization()));
    if (whenBusy) this.#watch = setInterval(() => this.#look(), lookMs).unref();
    else while (this.#carriers.length < countMax) this.#add();
  }

  /** Those that run now. */
  get count(): number {
    return this.#carriers.length;
  }

  /** As `startListener`, in all threads that can have it. */
  async listen(options: ListenerOptions): Promise<RunningListener> {
    if (!canBeCarried(options)) return startListener(options, this.#host);
    this.#lastListener += 1;
    const number = this.#lastListener;
    await probe(options);
    const { resumption } = options;
    const sessions = resumption === undefined ? undefined : this.#host.sessionsFor(resumption);
    const own = await startListener({ ...options, shares: 1 }, this.#host);
    const listener = new SharedListener(own, number, {
      options,
      sessions,
      carrierShares: this.#carrierSharesOf(options),
      carriers: this.#carriers,
      onClose: () => this.#listeners.delete(number),
    });
    this.#listeners.set(number, listener);
    try {
      await Promise.all(this.#carriers.map((carrier) => listener.extendTo(carrier)));
    } catch (thrown) {
      void listener.close();
      throw thrown;
    }
    sessions?.onChange(() => {
      for (const carrier of this.#carriers) carrier.useTicketKeys(sessions.resumption, sessions.ticketKeys);
    });
    return listener;
  }

  /** Resolves when all that has come for the transport by now was handed over, whichever thread it is in. */
  async heardAll(transport: Transport): Promise<void> {
    if (transport instanceof RemoteConnection) await transport.heardAll();
    else await turns();
  }

  /** No thread is started any more. */
  stopStarting(): void {
    clearInterval(this.#watch);
  }

  async close(): Promise<void> {
    this.stopStarting();
    await this.#starting;
    await Promise.all(this.#carriers.map((carrier) => carrier.close()));
  }

  /**
   * How many times more connections come to each carrier than to this thread, which has to decide for all: of 500 pairs, where a third
   * is here instead of half of them, the thread with most to do has a sixth less. But a TLS handshake costs as much as a thousand
   * messages, all of it where the connection is: two threads share these evenly.
   */
  #carrierSharesOf({ kind }: ListenerOptions): number {
    return this.#countMax === 1 && (kind === "mqtts" || kind === "wss") ? 1 : 2;
  }

  #add(): Carrier {
    const carrier = new Carrier(this.#carrierHost);
    this.#carriers.push(carrier);
    this.#shares.set(carrier, new LoopShare(() => carrier.utilization()));
    return carrier;
  }

  #look(): void {
    // All are asked, so that each tells of the same time.
    const shares = [...this.#shares.values()].map((share) => share.next());
    const accepted = this.#carrierHost.acceptedCount();
    const connections = this.#carrierHost.connectionCount() + accepted - this.#accepted;
    this.#accepted = accepted;
    if (this.#starting !== undefined || connections < connectionsMin) return;
    if (shares.some((share) => share < busyShare)) return;
    this.#starting = this.#start().finally(() => (this.#starting = undefined));
    if (this.#carriers.length >= this.#countMax) this.stopStarting();
  }

  /** One more, on all listeners; where it cannot listen, those that run have to do. */
  async #start(): Promise<void> {
    const carrier = this.#add();
    const { log } = this.#carrierHost;
    const results = await Promise.allSettled(
      [...this.#listeners.values()].map((listener) => listener.extendTo(carrier)),
    );
    log.info({ threads: this.#carriers.length + 1 }, "all threads are busy: one more carries connections");
    for (const result of results) {
      if (result.status === "fulfilled") continue;
      log.warn({ error: errorText(result.reason) }, "a new thread cannot listen: no more are started");
      this.stopStarting();
    }
  }
}

/** Threads share a port, and so could another program of the same user, unseen: whoever is there already is found out before. */
async function probe({ host, port }: ListenerOptions): Promise<void> {
  if (port === 0) return;
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, resolve);
  });
  await new Promise((resolve) => server.close(resolve));
}
