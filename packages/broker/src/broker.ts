import type { Core } from "./core.ts";
import { ChunkPool } from "./chunk-pool.ts";
import { Connection } from "./connection.ts";
import { BrokerContext, type BrokerOptions } from "./context.ts";
import { AcceptedKeeper } from "./accepted-keeper.ts";
import { Admission } from "./listeners/admission.ts";
import {
  startListener,
  type ListenerHost,
  type ListenerOptions,
  type RunningListener,
} from "./listeners/listener.ts";
import { TlsSessions, type Resumption } from "./listeners/tls-sessions.ts";
import { Message } from "./message.ts";
import { PauseReason } from "./pause-reason.ts";
import type { AuditEvent, BrokerPorts } from "./ports.ts";
import { Publisher } from "./publisher.ts";
import { Reauthorization } from "./reauthorization.ts";
import { Router } from "./router.ts";
import { SessionRegistry } from "./session-registry.ts";
import { Shelves } from "./shelf.ts";
import { type BrokerSnapshot, takeSnapshot } from "./snapshot.ts";
import type { Counters } from "./stats.ts";
import { SystemTopics } from "./system-topics.ts";
import { ReasonCode } from "@postern/mqtt/reason-codes";
import { Wills } from "./wills.ts";
import { Carriers } from "./workers/carriers.ts";

const retainedSweepMs = 60_000;
const closeGraceMs = 3_000;

/** An MQTT broker: listeners in front, the store behind, everything else handed in. */
export class Broker {
  readonly #context: BrokerContext;
  readonly #core: Core;
  readonly #connections = new Set<Connection>();
  readonly #listeners: RunningListener[] = [];
  readonly #admission: Admission;
  readonly #listenerHost: ListenerHost;
  /** `undefined` when this thread carries all connections. */
  readonly #carriers: Carriers | undefined;
  readonly #tlsSessions: TlsSessions[] = [];
  readonly #systemTopics: SystemTopics;
  readonly #sweep: NodeJS.Timeout;
  readonly #accepted: AcceptedKeeper;

  /** Brings back all that the store kept. Listeners are started with `listen`. */
  constructor(ports: BrokerPorts, options: BrokerOptions) {
    const context = new BrokerContext(ports, options);
    const router = new Router(context);
    const publisher = new Publisher(context, router);
    const wills = new Wills(context, publisher);
    const sessions = new SessionRegistry(context, router, wills);
    const reauthorization = new Reauthorization(context, sessions);
    const { limits } = options;
    this.#context = context;
    this.#admission = new Admission(context);
    this.#core = {
      context,
      publisher,
      wills,
      sessions,
      reauthorization,
      outboundShared: {
        pool: new ChunkPool(),
        shelves: new Shelves(),
        line: context.line,
        stats: context.stats,
        outboundBytes: 0,
      },
      throttlesAll: limits.bytesPerSecondTotalMax > 0 || limits.messagesPerSecondTotalMax > 0,
      heardAll: (transport) => this.#carriers?.heardAll(transport),
      audit: (kind, connection, detail) => this.#audit(kind, connection, detail),
      closed: (connection) => this.#connections.delete(connection),
    };
    context.line.onHealthChange = (failure) => this.#storeHealthChanged(failure);
    this.#accepted = new AcceptedKeeper(context);
    context.retained.load(ports.store.loadRetained());
    sessions.load(ports.store.loadSessions());
    wills.load(ports.store.loadWills());
    // What was permitted when it was stored may not be any more.
    reauthorization.all();
    ports.bus?.onMessage((message, retain) => publisher.publishFromBus(Message.load(message), retain));
    this.#listenerHost = {
      context,
      admission: this.#admission,
      accept: (transport, peer, limits, admitted) => {
        const connection = new Connection(this.#core, transport, peer, limits, admitted);
        this.#connections.add(connection);
        return connection;
      },
      sessionsFor: (resumption) => this.#tlsSessionsFor(resumption),
    };
    this.#carriers = this.#startCarriers();
    this.#systemTopics = new SystemTopics(context, publisher);
    this.#sweep = setInterval(() => this.#sweepRetained(), retainedSweepMs).unref();
  }

  /** Opens a listener; resolves when it accepts connections, rejects with the system's error when it cannot. */
  async listen(options: ListenerOptions): Promise<RunningListener> {
    const listener = await (this.#carriers === undefined
      ? startListener(options, this.#listenerHost)
      : this.#carriers.listen(options));
    this.#listeners.push(listener);
    return listener;
  }

  /**
   * For an identity that is no longer trusted: cuts all its connections, at once and on every listener (MQTT 5: DISCONNECT with
   * `reasonCode`), and forgets its sessions with all that is queued for them. Its wills are not published. That no new
   * connection comes is the authenticator's to see to, before this is called.
   * @returns how many sessions there were.
   */
  endSessionsOf(identityName: string, reasonCode: number): number {
    const { sessions, wills } = this.#core;
    this.#context.readClock();
    const ended = sessions.of(identityName);
    wills.cancelAllOf(identityName);
    for (const session of ended) {
      session.connection?.cut(reasonCode, "who has this name is no longer trusted");
      if (this.#context.sessions.get(session.clientId) === session) sessions.end(session);
    }
    return ended.length;
  }

  /**
   * For an identity whose credentials changed: ends its connections, so that it has to prove itself again; its sessions stay.
   * @returns how many connections there were.
   */
  endConnectionsOf(identityName: string, reasonCode: number): number {
    this.#context.readClock();
    const connections = this.#core.sessions.of(identityName).flatMap(({ connection }) => connection ?? []);
    for (const connection of connections) connection.cut(reasonCode, "the device's credentials changed");
    return connections.length;
  }

  /** Threads that connections are spread over now. */
  get threadCount(): number {
    return 1 + (this.#carriers?.count ?? 0);
  }

  /** Threads that they may be spread over. */
  get threadCountMax(): number {
    return this.#context.options.workers ?? 1;
  }

  /** What runs now, in numbers. */
  snapshot(): BrokerSnapshot {
    return takeSnapshot(this.#context, {
      listeners: this.#listeners,
      outboundBytes: this.#core.outboundShared.outboundBytes,
      wills: this.#core.wills.count,
    });
  }

  get connectionCount(): number {
    return this.#context.connectionCount;
  }

  /** The counters alone: a snapshot looks at every session. */
  counters(): Counters {
    return this.#context.stats.copy();
  }

  /** The error that keeps the broker from promising durability, as long as there is one. */
  get storeFailure(): Error | undefined {
    return this.#context.line.failure;
  }

  /**
   * Permissions have changed, of one identity or of all: what is no longer permitted ends now, for clients that are connected and
   * for those that are away: subscriptions, sessions that outlive their connection. Messages that wait, retained messages and
   * wills are checked against the new permissions when their turn comes.
   */
  reauthorize(identity?: string): void {
    this.#context.readClock();
    if (identity === undefined) this.#core.reauthorization.all();
    else this.#core.reauthorization.of(identity);
  }

  /**
   * Stops: no new connections; every client is told (MQTT 5: DISCONNECT 0x8B) and its session kept for the next
   * start; resolves when all that was acknowledged is on disk. The store stays open for its owner to close.
   */
  async close(): Promise<void> {
    if (this.#context.closing) return;
    this.#context.closing = true;
    this.#context.readClock();
    clearInterval(this.#sweep);
    this.#systemTopics.close();
    this.#admission.close();
    this.#carriers?.stopStarting();
    for (const sessions of this.#tlsSessions) sessions.close();
    const listeners = Promise.all(this.#listeners.map((listener) => listener.close()));
    const { serverReference } = this.#context.options;
    const properties = serverReference === undefined ? {} : { serverReference };
    for (const connection of this.#connections)
      connection.disconnect(ReasonCode.serverShuttingDown, "the server is shutting down", properties);
    this.#core.wills.close();
    this.#accepted.close();
    await this.#context.line.settle();
    await this.#untilClosed();
    await listeners;
    await this.#carriers?.close();
    this.#context.wheel.close();
    this.#context.line.close();
  }

  #startCarriers(): Carriers | undefined {
    const { limits, options, ports } = this.#context;
    const { workers = 1, workersWhenBusy: whenBusy = false } = options;
    if (workers === 1) return undefined;
    const { accept } = this.#listenerHost;
    const { log, audit } = ports;
    return new Carriers({ countMax: workers - 1, whenBusy }, this.#listenerHost, {
      limits,
      admission: this.#admission,
      accept,
      log,
      audit,
      acceptedCount: () => this.#context.stats.connectionsAccepted,
      connectionCount: () => this.#context.connectionCount,
    });
  }

  #tlsSessionsFor(resumption: Resumption): TlsSessions {
    const { tickets, ids, seconds } = resumption;
    const known = this.#tlsSessions.find(
      ({ resumption: other }) => other.tickets === tickets && other.ids === ids && other.seconds === seconds,
    );
    if (known !== undefined) return known;
    const sessions = new TlsSessions(resumption, this.#context.ports.clock);
    this.#tlsSessions.push(sessions);
    return sessions;
  }

  async #untilClosed(): Promise<void> {
    const deadline = performance.now() + closeGraceMs;
    while (this.#connections.size > 0 && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10));
    for (const listener of this.#listeners) listener.cut();
  }

  /** While nothing can be made durable nothing is read: what clients have sent stays theirs to send again. */
  #storeHealthChanged(failure: Error | undefined): void {
    for (const connection of this.#connections) {
      if (failure === undefined) connection.resume(PauseReason.store);
      else connection.pause(PauseReason.store);
    }
  }

  #sweepRetained(): void {
    this.#context.readClock();
    this.#context.sweep.begin();
  }

  #audit(kind: AuditEvent["kind"], connection: Connection, detail: string): void {
    const { peer, clientId, identity } = connection;
    this.#context.ports.audit.record({
      kind,
      listener: peer.listener,
      address: peer.address,
      clientId,
      identity: identity?.name ?? "",
      detail,
    });
  }
}
