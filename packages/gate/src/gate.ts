import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";
import { ipSource, type IpAddress } from "@postern/knock/ip-address";
import type { Spa1Verifier } from "@postern/knock/spa1/verifier";
import type { AcceptedKnock, KnockSource, Refusal, Verdict } from "@postern/knock/verdict";

import type { AcceptedMemory } from "./accepted-memory.ts";
import { Activity } from "./activity.ts";
import type { BanList } from "./ban-list.ts";
import type { Firewall } from "./firewall.ts";
import { beginTrace, traceOf, type KnockTrace } from "./knock-trace.ts";
import { GateLink, type BrokerMessage } from "./link/gate-link.ts";
import type { Answer, GateStatus, OperatorRequest } from "./link/messages.ts";
import { RefusalLog } from "./refusal-log.ts";
import { Roster } from "./roster.ts";
import { WindowOpener, windowMessage } from "./window-opener.ts";

const sweepMs = 1_000;
const windowsShownMax = 100;
const bansShownMax = 2_000;

/** Refused for what befell the gate: no reason to lock out who sent it. */
const blameless: ReadonlySet<Refusal> = new Set(["unsure"]);

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

/** The gate: judges knocks, opens windows and bans. */
export class Gate implements AsyncDisposable {
  readonly #parts: GateParts;
  readonly #windows: WindowOpener;
  readonly #roster: Roster;
  readonly #activity: Activity;
  readonly #refusals: RefusalLog;
  readonly #timer: NodeJS.Timeout;
  #link: GateLink | undefined;
  #brokerSinceMs: number | undefined;
  #sweptAtMs: number;
  #exposed = false;
  #closed = false;
  #memoryFails = false;

  constructor(parts: GateParts) {
    const { clock, log, firewall, memory, spa1, master } = parts;
    this.#parts = parts;
    this.#sweptAtMs = clock.wallMs();
    this.#activity = new Activity(this.#sweptAtMs);
    this.#refusals = new RefusalLog(log);
    const audience = {
      announce: (message: ReturnType<typeof windowMessage>) =>
        this.#link?.announce(message) ?? Promise.resolve(false),
      closed: (id: number) => void this.#link?.tell({ kind: "close", id }),
    };
    this.#windows = new WindowOpener({ clock, log, firewall, memory, audience });
    this.#roster = new Roster({
      clock,
      table: spa1.table,
      master,
      onGone: (device) => void this.#windows.close((window) => window.device === device),
    });
    this.#timer = setInterval(() => this.#sweep(), sweepMs);
  }

  /** Opens the gate's socket for the broker and for operators. @throws {GateLinkError} */
  async listen(path: string): Promise<void> {
    await this.#windows.closeLeftOver();
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
    const { clock, bans, spa1 } = this.#parts;
    const receivedMs = beginTrace();
    const nowMs = clock.wallMs();
    this.#activity.count("received");
    if (!bans.sentry.mayVerify(ipSource(source.address), nowMs)) {
      this.#activity.count("banned");
      return;
    }
    this.#roster.advance(nowMs);
    const verdict = verifier.verify(bytes, source, nowMs);
    if (verdict.kind === "accepted") {
      const owner = verifier === spa1 ? verdict.device : undefined;
      void this.#accept(verdict, owner, traceOf(verdict.device, receivedMs));
    } else this.#refuse(source.address, verdict, nowMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#link?.[Symbol.asyncDispose]();
    this.#roster[Symbol.dispose]();
    await this.#windows.end();
    await this.#parts.bans[Symbol.asyncDispose]();
    await this.#parts.memory[Symbol.asyncDispose]();
  }

  #refuse(address: IpAddress, verdict: Extract<Verdict, { kind: "refused" }>, nowMs: number): void {
    const source = ipSource(address);
    const { reason, device } = verdict;
    this.#activity.count(reason);
    if (!this.#parts.bans.sentry.flooded)
      this.#activity.knocked({ atMs: nowMs, source, device, outcome: reason });
    this.#refusals.record(source, reason, device, nowMs);
    if (!blameless.has(reason)) this.#offend(address, nowMs);
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

  async #accept(
    knock: AcceptedKnock,
    owner: string | undefined,
    trace: KnockTrace | undefined,
  ): Promise<void> {
    const { clock, bans, log } = this.#parts;
    const nowMs = clock.wallMs();
    const { device, address, ports } = knock;
    bans.sentry.prove(ipSource(address), nowMs);
    const outcome = await this.#windows.carryOut(knock, owner, nowMs, trace).catch((thrown: unknown) => {
      log.error({ device, address, error: errorText(thrown) }, "an accepted knock could not be carried out");
      return "failed" as const;
    });
    this.#activity.count(outcome === "failed" ? "failed" : "accepted");
    this.#activity.knocked({ atMs: nowMs, source: address, device, outcome });
    log.info({ device, address, ports, outcome }, "a knock was accepted");
  }

  /** When the clock is set back, windows would last longer than they may by as much: whoever needs one knocks again. */
  #mindClock(nowMs: number): void {
    if (nowMs < this.#sweptAtMs - sweepMs) {
      this.#parts.log.warn({}, "the clock was set back: all windows are closed");
      void this.#windows.close(() => true);
    }
    this.#sweptAtMs = nowMs;
  }

  #sweep(): void {
    const nowMs = this.#parts.clock.wallMs();
    this.#mindClock(nowMs);
    this.#windows.expire(nowMs);
    this.#parts.bans.sweep(nowMs);
    this.#refusals.turn(nowMs);
    this.#roster.advance(nowMs);
    void this.#maintainMemory();
  }

  async #maintainMemory(): Promise<void> {
    const { memory, log } = this.#parts;
    try {
      await memory.maintain();
      this.#memoryFails = false;
    } catch (thrown) {
      if (!this.#memoryFails)
        log.error({ error: errorText(thrown) }, "the memory of accepted knocks cannot be kept on disk");
      this.#memoryFails = true;
    }
  }

  #brokerCame(): void {
    const nowMs = this.#parts.clock.wallMs();
    this.#brokerSinceMs = nowMs;
    this.#parts.bans.sentry.forgetConnected();
    this.#roster.interrupt();
    this.#parts.log.info({}, "the server is there");
    this.#link?.tell({ kind: "exposed", exposed: this.#exposed });
    for (const window of this.#windows.open(nowMs)) this.#link?.tell(windowMessage(window));
  }

  #brokerLeft(): void {
    this.#brokerSinceMs = undefined;
    this.#parts.bans.sentry.forgetConnected();
    if (!this.#closed) this.#parts.log.warn({}, "the server is away: nothing is opened until it is back");
  }

  #told(message: BrokerMessage): void {
    const { bans, clock } = this.#parts;
    switch (message.kind) {
      case "devices":
        return this.#roster.list(message);
      case "device":
        return this.#roster.know(message.device);
      case "forget":
        return this.#roster.forget(message.device);
      case "live":
        return bans.sentry.connected(ipSource(message.address), 1);
      case "connected":
        bans.sentry.connected(ipSource(message.address), 1);
        bans.sentry.prove(ipSource(message.address), clock.wallMs());
        void this.#windows.use(message.device, message.address);
        return;
      case "disconnected":
        return bans.sentry.connected(ipSource(message.address), -1);
      case "failure":
        this.#activity.count("failures");
        return this.#offend(message.address, clock.wallMs());
    }
    message satisfies never;
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
    const { bans } = this.#parts;
    const windows = this.#windows.open(nowMs);
    return {
      startedAtMs: this.#activity.startedAtMs,
      broker: this.#brokerSinceMs === undefined ? null : { sinceMs: this.#brokerSinceMs },
      devices: this.#roster.size,
      ready: this.#roster.isReady,
      bans: bans.sentry.banCount,
      flooded: bans.sentry.flooded,
      counters: this.#activity.counters(),
      windowCount: windows.length,
      windows: windows.slice(0, windowsShownMax).map(({ device, source, ports, untilMs, uses }) => {
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
