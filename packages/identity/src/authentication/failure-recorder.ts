import type { Clock } from "@postern/core/clock";
import { sourceOf } from "@postern/core/source";

import { BoundedMap } from "./bounded-map.ts";
import { defaultFailureLimits, type FailureLimits } from "./failure-limits.ts";

/** What somebody failed at. */
export const failureKinds = ["certificate", "password", "token", "psk", "permission"] as const;
export type FailureKind = (typeof failureKinds)[number];

/** Where an attempt comes from and whom it claims to be; neither is proved. */
export interface Claim {
  /** Textual IP address; empty for a Unix socket. */
  readonly address: string;
  /** Empty when none was claimed. */
  readonly identity: string;
}

/** One failure, for the audit log and for whoever bans sources. */
export interface FailureEvent extends Claim {
  readonly kind: FailureKind;
  /** The address as it is counted: IPv4, or the /64 of IPv6. */
  readonly source: string;
  /** Failures of this source of late, this one included. */
  readonly ofSource: number;
  /** Wall clock. */
  readonly atMs: number;
  /** How long the source, with this claim, has to wait now; 0 for not at all. */
  readonly waitMs: number;
}

/** What may be done with an attempt now. */
export type Verdict =
  | { readonly kind: "go"; readonly attempt: Attempt }
  /** As `go`, after a delay. */
  | { readonly kind: "wait"; readonly waitMs: number; readonly attempt: Attempt }
  | { readonly kind: "refuse"; readonly reason: string };

/** An attempt that is being looked at; exactly one of these is called at its end. */
export interface Attempt {
  succeeded(): void;
  failed(kind: FailureKind): void;
  /** It was not judged. */
  dropped(): void;
}

/** What is remembered of one source, one identity, or one of both. */
interface Tally {
  count: number;
  /** Monotonic ms. */
  lastMs: number;
  untilMs: number;
  inFlight: number;
}

/** The first wait; each further failure doubles it. */
const backOffMs = 1_000;

/** How long strangers wait for an identity that is being attacked, and how many may wait at once. */
const strangerWaitMs = 1_000;
const waitingMax = 256;

/** Claims are kept; nobody's name is longer. */
const identityCharactersMax = 128;

/** Certificates and permissions cannot be guessed: a device with an old certificate must not slow down its neighbours. */
const guessable: ReadonlySet<FailureKind> = new Set<FailureKind>(["password", "token", "psk"]);

/**
 * Counts failed proofs by source, by claimed identity and by both, and says who has to wait. Somebody who fails again and again for one
 * identity waits long, and so does a source that tries many identities. An identity that is attacked from everywhere
 * stays open: those who proved it before go on as always, from where they did, and strangers are delayed, never refused for what
 * others did. Proofs that cannot be guessed are counted and never made to wait.
 */
export class FailureRecorder {
  readonly #clock: Clock;
  readonly #limits: FailureLimits;
  readonly #onFailure: (event: FailureEvent) => void;
  readonly #sources: BoundedMap<Tally>;
  readonly #identities: BoundedMap<Tally>;
  readonly #pairs: BoundedMap<Tally>;
  /** When each pair last succeeded, monotonic ms. */
  readonly #known: BoundedMap<number>;
  readonly #counts: { [kind in FailureKind]: number } = {
    certificate: 0,
    password: 0,
    token: 0,
    psk: 0,
    permission: 0,
  };
  #refusedCount = 0;
  #waitingCount = 0;

  constructor(options: {
    readonly clock: Clock;
    readonly limits?: FailureLimits;
    /** Told of each failure. */
    readonly onFailure?: (event: FailureEvent) => void;
  }) {
    this.#clock = options.clock;
    this.#limits = options.limits ?? defaultFailureLimits;
    this.#onFailure = options.onFailure ?? (() => {});
    const { rememberedMax } = this.#limits;
    this.#sources = new BoundedMap(rememberedMax);
    this.#identities = new BoundedMap(rememberedMax);
    this.#pairs = new BoundedMap(rememberedMax);
    this.#known = new BoundedMap(rememberedMax);
  }

  /** Asked before a proof that can be guessed is looked at. */
  begin(claim: Claim): Verdict {
    const { failuresPerPairMax, failuresPerIdentityMax, attemptsPerSourceMax } = this.#limits;
    const nowMs = this.#clock.monotonicMs();
    const keys = keysOf(claim);
    const source = this.#recall(this.#sources, keys.source, nowMs);
    const pair = this.#recall(this.#pairs, keys.pair, nowMs);
    const isKnown = this.#known.get(keys.pair) !== undefined;
    if (pair.untilMs > nowMs) return this.#refuse("it failed too often for this identity", pair, nowMs);
    // All that are looked at may fail: together they get no more than one after the other would.
    if (pair.inFlight > 0 && pair.count + pair.inFlight >= failuresPerPairMax)
      return this.#refuse("other attempts of it are being looked at", pair, nowMs);
    if (!isKnown && source.untilMs > nowMs)
      return this.#refuse("its address failed too often", source, nowMs);
    if (source.inFlight >= attemptsPerSourceMax)
      return this.#refuse("too many attempts of its address are being looked at", source, nowMs);
    const identity = this.#recall(this.#identities, keys.identity, nowMs);
    const mustWait = !isKnown && identity.count >= failuresPerIdentityMax;
    if (mustWait && this.#waitingCount >= waitingMax)
      return this.#refuse("too many wait already for an identity that is attacked", identity, nowMs);
    const attempt = this.#attempt(claim, keys, mustWait);
    return mustWait ? { kind: "wait", waitMs: strangerWaitMs, attempt } : { kind: "go", attempt };
  }

  /** Counts a failure that nobody asked `begin` for. */
  record(claim: Claim, kind: FailureKind): void {
    this.#fail(claim, keysOf(claim), kind);
  }

  /** Since the start, and as it is now. */
  get status() {
    const nowMs = this.#clock.monotonicMs();
    const forgottenMs = nowMs - this.#limits.forgetSeconds * 1_000;
    const worst = [...this.#sources.entries()]
      .filter(([, { lastMs, count }]) => count > 0 && lastMs > forgottenMs)
      .map(([source, { count, untilMs }]) => ({
        source,
        failures: count,
        waitMs: Math.max(0, untilMs - nowMs),
      }))
      .sort((a, b) => b.failures - a.failures);
    return {
      failures: { ...this.#counts },
      refused: this.#refusedCount,
      sources: worst.length,
      worst: worst.slice(0, 5),
    };
  }

  #attempt(claim: Claim, keys: Keys, waits: boolean): Attempt {
    const nowMs = this.#clock.monotonicMs();
    const source = this.#keep(this.#sources, keys.source, nowMs);
    const pair = this.#keep(this.#pairs, keys.pair, nowMs);
    source.inFlight += 1;
    pair.inFlight += 1;
    if (waits) this.#waitingCount += 1;
    const dropped = (): void => {
      release(this.#sources, keys.source, source);
      release(this.#pairs, keys.pair, pair);
      if (waits) this.#waitingCount -= 1;
    };
    return {
      dropped,
      failed: (kind) => {
        dropped();
        this.#fail(claim, keys, kind);
      },
      succeeded: () => {
        dropped();
        // The source's count stays: an attacker may have an account of his own.
        this.#pairs.delete(keys.pair);
        this.#known.set(keys.pair, this.#clock.monotonicMs());
      },
    };
  }

  #fail(claim: Claim, keys: Keys, kind: FailureKind): void {
    const { failuresPerPairMax, failuresPerSourceMax } = this.#limits;
    const nowMs = this.#clock.monotonicMs();
    this.#counts[kind] += 1;
    const source = this.#keep(this.#sources, keys.source, nowMs);
    let waitMs = 0;
    if (guessable.has(kind)) {
      const pair = this.#keep(this.#pairs, keys.pair, nowMs);
      const identity = this.#keep(this.#identities, keys.identity, nowMs);
      this.#count(identity, Infinity, nowMs);
      waitMs = Math.max(
        this.#count(source, failuresPerSourceMax, nowMs),
        this.#count(pair, failuresPerPairMax, nowMs),
      );
    }
    this.#onFailure({
      ...claim,
      kind,
      source: keys.source,
      ofSource: source.count,
      atMs: this.#clock.wallMs(),
      waitMs,
    });
  }

  /** Counts one more and returns what that costs, in ms. */
  #count(tally: Tally, freeMax: number, nowMs: number): number {
    tally.count += 1;
    tally.lastMs = nowMs;
    if (tally.count < freeMax) return 0;
    const doublings = Math.min(tally.count - freeMax, 30);
    const waitMs = Math.min(backOffMs * 2 ** doublings, this.#limits.backOffSecondsMax * 1_000);
    tally.untilMs = nowMs + waitMs;
    return waitMs;
  }

  /** What is remembered and not yet forgotten; changing it changes nothing. */
  #recall(tallies: BoundedMap<Tally>, key: string, nowMs: number): Readonly<Tally> {
    const known = tallies.get(key);
    if (known === undefined) return nothing;
    const forgotten = nowMs - known.lastMs > this.#limits.forgetSeconds * 1_000;
    return forgotten ? { ...nothing, inFlight: known.inFlight } : known;
  }

  /** What is remembered, as the newest, to be changed. */
  #keep(tallies: BoundedMap<Tally>, key: string, nowMs: number): Tally {
    const known = tallies.get(key);
    const tally = known ?? { ...nothing, lastMs: nowMs };
    if (nowMs - tally.lastMs > this.#limits.forgetSeconds * 1_000) {
      tally.count = 0;
      tally.untilMs = 0;
    }
    tallies.set(key, tally);
    return tally;
  }

  #refuse(reason: string, { untilMs }: Readonly<Tally>, nowMs: number): Verdict {
    this.#refusedCount += 1;
    const leftSeconds = Math.ceil(Math.max(0, untilMs - nowMs) / 1_000);
    return { kind: "refuse", reason: leftSeconds === 0 ? reason : `${reason}; ${leftSeconds} s to wait` };
  }
}

/** An attempt is over; whoever never failed is not remembered, so that they take no room from those who did. */
function release(tallies: BoundedMap<Tally>, key: string, tally: Tally): void {
  tally.inFlight -= 1;
  if (tally.inFlight === 0 && tally.count === 0 && tallies.get(key) === tally) tallies.delete(key);
}

const nothing: Readonly<Tally> = { count: 0, lastMs: 0, untilMs: 0, inFlight: 0 };

interface Keys {
  readonly source: string;
  readonly identity: string;
  readonly pair: string;
}

function keysOf({ address, identity }: Claim): Keys {
  const source = sourceOf(address);
  const name = identity.slice(0, identityCharactersMax);
  return { source, identity: name, pair: `${source} ${name}` };
}
