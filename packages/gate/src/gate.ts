import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";
import { ipSource, type IpAddress } from "@postern/knock/ip-address";
import { deriveKnockSecret, knockKeys } from "@postern/knock/spa1/keys";
import type { Spa1Verifier } from "@postern/knock/spa1/verifier";
import type { AcceptedKnock, KnockSource, Verdict } from "@postern/knock/verdict";

import type { AcceptedMemory } from "./accepted-memory.ts";
import { Activity } from "./activity.ts";
import type { BanList } from "./ban-list.ts";
import type { Firewall } from "./firewall.ts";
import { GateLink, type BrokerMessage } from "./link/gate-link.ts";
import type { Answer, FromGateInput, GateStatus, KnownDevice, OperatorRequest } from "./link/messages.ts";
import { RefusalLog } from "./refusal-log.ts";
import { WindowTable, type Window } from "./window-table.ts";

/** Hints that are made between two packets. */
const hintsPerTurn = 64;
const sweepMs = 1_000;
const windowsShownMax = 100;
const bansShownMax = 2_000;

export interface GateParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly firewall: Firewall;
  readonly memory: AcceptedMemory;
  readonly bans: BanList;
  readonly spa1: Spa1Verifier;
  /** Of which all devices' keys are derived. */
  readonly master: Uint8Array;
}

/** A judge of packets: one of the formats. */
export interface Verifier {
  verify(bytes: Uint8Array, source: KnockSource, nowMs: number): Verdict;
}

/**
 * The gate: judges knocks, opens windows and bans. What an accepted knock leads to, in this order:
 *
 *   1. what was accepted is on disk, so that it is never accepted again, and
 *   2. the broker knows who may come from where until when;
 *   3. then the kernel opens.
 */
export class Gate implements AsyncDisposable {
  readonly #parts: GateParts;
  readonly #windows = new WindowTable();
  readonly #activity: Activity;
  readonly #refusals: RefusalLog;
  readonly #timer: NodeJS.Timeout;
  #link: GateLink | undefined;
  #brokerSinceMs: number | undefined;
  /** Devices of the complete list that is being told. */
  #listed: Set<string> | undefined;
  #working = false;
  #sweptAtMs: number;
  #exposed = false;
  #closed = false;

  constructor(parts: GateParts) {
    this.#parts = parts;
    this.#sweptAtMs = parts.clock.wallMs();
    this.#activity = new Activity(this.#sweptAtMs);
    this.#refusals = new RefusalLog(parts.log);
    this.#timer = setInterval(() => this.#sweep(), sweepMs);
  }

  /** Opens the gate's socket for the broker and for operators. @throws {GateLinkError} */
  async listen(path: string): Promise<void> {
    await this.#closeLeftOver();
    this.#link = await GateLink.listen(
      path,
      {
        brokerCame: () => this.#brokerCame(),
        brokerLeft: () => this.#brokerLeft(),
        told: (message) => this.#told(message),
        asked: (request) => this.#asked(request),
      },
      this.#parts.log,
    );
  }

  /** Hidden ports may be open to all, or no longer are: the broker lets nobody new in meanwhile. */
  expose(exposed: boolean): void {
    this.#exposed = exposed;
    this.#link?.tell({ kind: "exposed", exposed });
  }

  /** Takes one knock. Never throws and never answers. */
  knock(bytes: Uint8Array, source: KnockSource, verifier: Verifier): void {
    const { clock, bans } = this.#parts;
    const nowMs = clock.wallMs();
    this.#activity.count("received");
    if (!bans.sentry.mayVerify(ipSource(source.address), nowMs)) {
      this.#activity.count("banned");
      return;
    }
    this.#parts.spa1.table.advance(nowMs);
    this.#work();
    const verdict = verifier.verify(bytes, source, nowMs);
    if (verdict.kind === "accepted") void this.#accept(verdict, verifier === this.#parts.spa1);
    else this.#refuse(source.address, verdict, nowMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#link?.[Symbol.asyncDispose]();
    // Nobody who knocked is known to the next gate: what it cannot know of must not stay open.
    const closing = this.#windows.close(() => true).map((window) => this.#closeInKernel(window));
    await Promise.all(closing);
    this.#parts.bans.save();
    await this.#parts.memory[Symbol.asyncDispose]();
  }

  #refuse(address: IpAddress, verdict: Extract<Verdict, { kind: "refused" }>, nowMs: number): void {
    const source = ipSource(address);
    const { reason, device } = verdict;
    this.#activity.count(reason);
    if (!this.#parts.bans.sentry.flooded)
      this.#activity.knocked({ atMs: nowMs, source, device, outcome: reason });
    this.#refusals.record(source, reason, device, nowMs);
    this.#offend(address, nowMs);
  }

  #offend(address: IpAddress, nowMs: number): void {
    const source = ipSource(address);
    const { bans, log } = this.#parts;
    const judgement = bans.offend(source, nowMs);
    switch (judgement.kind) {
      case "counted":
        return;
      case "ban":
        this.#activity.count("bans");
        log.warn(
          { source, seconds: judgement.seconds },
          "a source sent too much that was invalid; it is locked out",
        );
        return;
      case "spared":
        log.error(
          { source },
          "a source sent far too much that was invalid, but a device proved to be there: it is not locked out; look at who else is",
        );
        return;
      case "flood":
        if (judgement.began) {
          log.error(
            {},
            "a flood of invalid knocks from very many sources: nobody is locked out until it ends",
          );
        }
        return;
    }
    judgement satisfies never;
  }

  async #accept(knock: AcceptedKnock, bound: boolean): Promise<void> {
    const { clock, bans, log } = this.#parts;
    const nowMs = clock.wallMs();
    const { device, address, ports } = knock;
    const source = ipSource(address);
    bans.sentry.prove(source, nowMs);
    const outcome = await this.#carryOut(knock, bound, nowMs).catch((thrown: unknown) => {
      log.error({ device, address, error: errorText(thrown) }, "an accepted knock could not be carried out");
      return "failed";
    });
    this.#activity.count(outcome === "failed" ? "failed" : "accepted");
    this.#activity.knocked({ atMs: nowMs, source: address, device, outcome });
    log.info({ device, address, ports, outcome }, "a knock was accepted");
  }

  /** @returns what became of it, in a word. */
  async #carryOut(knock: AcceptedKnock, bound: boolean, nowMs: number): Promise<string> {
    const { memory, firewall, log, clock } = this.#parts;
    const { device, address, sourcePort, ports, windowSeconds, certBind, action } = knock;
    const owner = bound ? device : undefined;
    if (action === "close") {
      await memory.flush();
      await this.#close((window) => window.device === owner && window.source === address);
      return "closed";
    }
    const untilMs = nowMs + windowSeconds * 1_000;
    const window = this.#windows.open({
      device: owner,
      source: address,
      sourcePort,
      ports,
      certBind,
      untilMs,
    });
    if (window === undefined) {
      log.warn({ device, address }, "as many windows are open as there may be");
      return "failed";
    }
    const [, known] = await Promise.all([memory.flush(), this.#announce(window)]);
    if (!known) {
      log.error({ device, address }, "the server does not know of the window and so it is not opened");
      await this.#close((other) => other === window);
      return "failed";
    }
    // It may have been closed, or replaced by a later knock, while the disk and the broker took their time.
    if (this.#closed || !this.#windows.has(window)) return "opened";
    const seconds = (window.untilMs - clock.wallMs()) / 1_000;
    if (seconds <= 0) return "failed";
    await firewall.openWindow(window, seconds);
    // A revocation while the kernel was at work finds nothing to close, and is made good here.
    if (!this.#windows.has(window)) await this.#closeInKernel(window);
    return "opened";
  }

  #announce(window: Window): Promise<boolean> {
    return this.#link?.announce(windowMessage(window)) ?? Promise.resolve(false);
  }

  async #close(which: (window: Window) => boolean): Promise<void> {
    await Promise.all(this.#windows.close(which).map((window) => this.#closeWindow(window)));
  }

  async #closeWindow(window: Window): Promise<void> {
    this.#link?.tell({ kind: "close", id: window.id });
    await this.#closeInKernel(window);
  }

  /** What other windows still want of the kernel stays open for as long as they do. */
  async #closeInKernel(window: Window): Promise<void> {
    const { firewall, clock, log } = this.#parts;
    const nowMs = clock.wallMs();
    for (const { target, untilMs } of this.#windows.afterClosing(window)) {
      const seconds = untilMs === undefined ? 0 : (untilMs - nowMs) / 1_000;
      try {
        if (seconds > 0) await firewall.openWindow(target, seconds);
        else await firewall.closeWindow(target);
      } catch (thrown) {
        log.error(
          { ...target, error: errorText(thrown) },
          "a window could not be closed; it closes when its time is over",
        );
      }
    }
  }

  /**
   * Windows of a gate that was killed: nobody knows any more who they are for, so that the broker lets nobody in through them. Whoever
   * connected before his new knock has arrived would be let through by the kernel and cut off by the broker.
   */
  async #closeLeftOver(): Promise<void> {
    const { firewall } = this.#parts;
    const leftOver = await firewall.listWindows();
    await Promise.all(
      leftOver.map(({ source, sourcePort, port }) =>
        firewall.closeWindow({ source, sourcePort, ports: [port] }),
      ),
    );
  }

  /** When the clock is set back, windows would last longer than they may by as much: whoever needs one knocks again. */
  #mindClock(nowMs: number): void {
    if (nowMs < this.#sweptAtMs - sweepMs) {
      this.#parts.log.warn({}, "the clock was set back: all windows are closed");
      void this.#close(() => true);
    }
    this.#sweptAtMs = nowMs;
  }

  #sweep(): void {
    const nowMs = this.#parts.clock.wallMs();
    this.#mindClock(nowMs);
    const { spa1, bans } = this.#parts;
    // The kernel has let go of them by itself.
    for (const { id } of this.#windows.close(({ untilMs }) => untilMs <= nowMs)) {
      this.#link?.tell({ kind: "close", id });
    }
    bans.sweep(nowMs);
    this.#refusals.turn(nowMs);
    spa1.table.advance(nowMs);
    this.#work();
  }

  /** Makes hints, some in each turn of the event loop, so that packets come in between. */
  #work(): void {
    if (this.#working || this.#closed) return;
    if (!this.#parts.spa1.table.step(hintsPerTurn)) return;
    this.#working = true;
    setImmediate(() => {
      this.#working = false;
      this.#work();
    });
  }

  #brokerCame(): void {
    const nowMs = this.#parts.clock.wallMs();
    this.#brokerSinceMs = nowMs;
    this.#parts.bans.sentry.forgetConnected();
    this.#listed = undefined;
    this.#parts.log.info({}, "the server is there");
    this.#link?.tell({ kind: "exposed", exposed: this.#exposed });
    for (const window of this.#windows) if (window.untilMs > nowMs) this.#link?.tell(windowMessage(window));
  }

  #brokerLeft(): void {
    this.#brokerSinceMs = undefined;
    this.#parts.bans.sentry.forgetConnected();
    if (!this.#closed) this.#parts.log.warn({}, "the server is away: nothing is opened until it is back");
  }

  #told(message: BrokerMessage): void {
    const { spa1, bans, clock } = this.#parts;
    switch (message.kind) {
      case "devices":
        return this.#list(message);
      case "device":
        return this.#know(message.device);
      case "forget":
        spa1.table.delete(message.device);
        void this.#close(({ device }) => device === message.device);
        return;
      case "live":
        return bans.sentry.connected(ipSource(message.address), 1);
      case "connected":
        bans.sentry.connected(ipSource(message.address), 1);
        bans.sentry.prove(ipSource(message.address), clock.wallMs());
        for (const window of this.#windows.use(message.device, message.address))
          void this.#closeWindow(window);
        return;
      case "disconnected":
        return bans.sentry.connected(ipSource(message.address), -1);
      case "failure":
        this.#activity.count("failures");
        return this.#offend(message.address, clock.wallMs());
    }
    message satisfies never;
  }

  #list({ first, last, devices }: Extract<BrokerMessage, { kind: "devices" }>): void {
    if (first) this.#listed = new Set();
    for (const device of devices) {
      this.#know(device);
      this.#listed?.add(device.name);
    }
    if (!last || this.#listed === undefined) return;
    const listed = this.#listed;
    this.#listed = undefined;
    const { table } = this.#parts.spa1;
    const gone = [...table.devices()].map(({ name }) => name).filter((name) => !listed.has(name));
    for (const name of gone) table.delete(name);
    void this.#close(({ device }) => device !== undefined && !listed.has(device));
    this.#work();
  }

  #know({ name, tenant, keyVersion, clockless, roaming, services, addresses }: KnownDevice): void {
    const { spa1, master } = this.#parts;
    const known = spa1.table.device(name);
    const policy = {
      roaming,
      services: services === null ? undefined : new Set(services),
      addresses: addresses === null ? undefined : new Set(addresses),
    };
    if (known?.tenant === tenant && known.keyVersion === keyVersion && known.clockless === clockless) {
      known.policy = policy;
      return;
    }
    // Whoever knocked with another key is not to come in by that.
    if (known !== undefined && known.keyVersion !== keyVersion)
      void this.#close(({ device }) => device === name);
    const keys = knockKeys(deriveKnockSecret(master, { tenant, device: name, keyVersion }));
    spa1.table.set({ name, tenant, keys, keyVersion, clockless, policy });
    this.#work();
  }

  #asked(request: OperatorRequest): Answer {
    const { bans, clock } = this.#parts;
    const nowMs = clock.wallMs();
    switch (request.kind) {
      case "status":
        return { kind: "status", status: this.#status(nowMs) };
      case "bans": {
        const all = bans.sentry.bans(nowMs);
        return { kind: "bans", bans: all.slice(-bansShownMax), total: all.length };
      }
      case "ban":
        bans.ban(request.source, nowMs + request.seconds * 1_000, nowMs);
        return { kind: "done", count: 1 };
      case "lift": {
        const sources =
          request.source === null ? bans.sentry.bans(nowMs).map(({ source }) => source) : [request.source];
        return { kind: "done", count: sources.filter((source) => bans.lift(source)).length };
      }
    }
    return request satisfies never;
  }

  #status(nowMs: number): GateStatus {
    const { spa1, bans } = this.#parts;
    const windows = [...this.#windows].filter(({ untilMs }) => untilMs > nowMs);
    return {
      startedAtMs: this.#activity.startedAtMs,
      broker: this.#brokerSinceMs === undefined ? null : { sinceMs: this.#brokerSinceMs },
      devices: spa1.table.size,
      ready: !this.#working,
      bans: bans.sentry.banCount,
      flooded: bans.sentry.flooded,
      counters: this.#activity.counters(),
      windowCount: windows.length,
      windows: windows
        .sort((a, b) => a.untilMs - b.untilMs)
        .slice(0, windowsShownMax)
        .map(({ device, source, ports, untilMs, uses }) => {
          return {
            device: device ?? null,
            address: source,
            ports: [...ports],
            untilMs: Math.floor(untilMs),
            uses,
          };
        }),
      knocks: this.#activity.knocks(),
    };
  }
}

function windowMessage({
  id,
  replaces,
  device,
  source,
  certBind,
  untilMs,
}: Window): Extract<FromGateInput, { kind: "window" }> {
  return {
    kind: "window",
    id,
    replaces: replaces ?? null,
    device: device ?? null,
    address: source,
    certBind: certBind === undefined ? null : Buffer.from(certBind).toString("hex"),
    untilMs: Math.ceil(untilMs),
  };
}
