import type { SessionNumber } from "@postern/core/session-store";

import { CommitLine } from "./commit-line.ts";
import type { Limits } from "./limits.ts";
import type { BrokerPorts } from "./ports.ts";
import { Retained } from "./retained.ts";
import { RetainedReplays } from "./retained-replays.ts";
import { RetainedSweep } from "./retained-sweep.ts";
import type { Session } from "./session.ts";
import { Stats } from "./stats.ts";
import { TimerWheel } from "./timer-wheel.ts";
import { TokenBucket } from "./token-bucket.ts";
import { TopicCache } from "./topic-cache.ts";
import { Usages } from "./usage.ts";

export interface BrokerOptions {
  readonly limits: Limits;
  /** Answers `Request Response Information`; the base of response topics. @see MQTT 5.0 §3.2.2.3.15 */
  readonly responseInformation: string | undefined;
  /** Sent with DISCONNECT when the server shuts down. @see MQTT 5.0 §4.11 */
  readonly serverReference: string | undefined;
  /** Shown in `$SYS/broker/version`. */
  readonly version: string;
  /** Threads that connections are spread over, this one among them; 1 unless given. */
  readonly workers?: number | undefined;
  /** The threads beside this one are started one by one, each when all that run are busy; otherwise at once. */
  readonly workersWhenBusy?: boolean | undefined;
}

/** What all parts of one broker share. */
export class BrokerContext {
  readonly ports: BrokerPorts;
  readonly options: BrokerOptions;
  readonly limits: Limits;
  readonly stats: Stats;
  readonly wheel: TimerWheel;
  readonly topics = new TopicCache();
  readonly retained: Retained;
  readonly replays = new RetainedReplays(this);
  readonly sweep = new RetainedSweep(this);
  readonly line: CommitLine;
  /** By client id. */
  readonly sessions = new Map<string, Session>();
  readonly usages = new Usages();
  /** Grows when permissions may have changed: answers from before count no more. */
  permissionsVersion = 1;
  readonly messageRate: TokenBucket;
  readonly byteRate: TokenBucket;
  readonly checkRate: TokenBucket;
  /** Wall clock, ms, read once for each chunk of input. */
  nowMs: number;
  /** Monotonic clock, ms, read together with it. */
  monotonicMs: number;
  connectionCount = 0;
  /** Of these, those whose clients have not proved yet who they are. */
  halfOpenCount = 0;
  /** Bytes held for packets that are not complete, over all connections. */
  inboundBytes = 0;
  /** Messages that wait in durable queues, and their bytes. */
  queuedCount = 0;
  queuedBytes = 0;
  /** In how many of these queues something waits. */
  queuesWaiting = 0;
  /** Bytes of messages that wait in memory for clients without a durable session, and in how many queues. */
  queuedMemoryBytes = 0;
  memoryQueuesWaiting = 0;
  closing = false;
  #nextSessionNumber: SessionNumber;

  constructor(ports: BrokerPorts, options: BrokerOptions) {
    this.ports = ports;
    this.options = options;
    this.limits = options.limits;
    this.nowMs = ports.clock.wallMs();
    this.monotonicMs = ports.clock.monotonicMs();
    this.stats = new Stats(this.nowMs);
    this.wheel = new TimerWheel(ports.clock);
    this.retained = new Retained(ports.store, options.limits);
    this.line = new CommitLine(
      { store: ports.store, log: ports.log, stats: this.stats },
      options.limits.uncommittedBytesMax,
    );
    this.messageRate = new TokenBucket(options.limits.messagesPerSecondTotalMax, this.monotonicMs);
    this.byteRate = new TokenBucket(options.limits.bytesPerSecondTotalMax, this.monotonicMs);
    this.checkRate = new TokenBucket(options.limits.signatureChecksPerSecondTotalMax, this.monotonicMs);
    this.#nextSessionNumber = ports.store.nextSessionNumber();
  }

  readClock(): void {
    this.nowMs = this.ports.clock.wallMs();
    this.monotonicMs = this.ports.clock.monotonicMs();
  }

  takeSessionNumber(): SessionNumber {
    const number = this.#nextSessionNumber;
    this.#nextSessionNumber += 1;
    return number;
  }
}
