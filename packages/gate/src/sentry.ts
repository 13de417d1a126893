import type { IpSource } from "@postern/knock/ip-address";

import { OldestOutMap } from "./oldest-out-map.ts";

/** The thesis's rule: more than 5 invalid packets in 30 minutes, locked out for 6 hours. @see thesis §3.8.2 */
export const defaultBanRule = { invalidMax: 5, withinSeconds: 1_800, banSeconds: 21_600 } as const;

export interface SentryOptions {
  /** As many invalid packets are forgiven. */
  readonly invalidMax: number;
  /** Within this time. */
  readonly withinSeconds: number;
  readonly banSeconds: number;
  /** Banned sources are not listened to at all: also those who could prove who they are, which forged packets can lock out. */
  readonly strict: boolean;
}

/** Sources that are remembered, of each kind; the longest unused make room. */
export const sourcesMax = 65_536;
/** How much more is forgiven to a source that somebody proved to be at. */
const provenFactor = 10;
/** How long somebody was at a source who proved it, after the last time. */
const provenMs = 86_400_000;
/** New offenders in a minute above which bans make no sense: the sources are forged. */
const offendersPerMinuteMax = 4_096;
/** How often all bans are looked at, which takes milliseconds; in between, those that began first. */
const allBansEveryMs = 60_000;
/** Packets of a banned source that are looked at, a second. */
const bannedPacketsPerSecondMax = 2;

/** What became of an invalid packet. */
export type Judgement =
  /** Counted, no more. */
  | { readonly kind: "counted" }
  /** One too many: to be banned now, for so long; `replaced` is the oldest ban, which had to make room. */
  | { readonly kind: "ban"; readonly seconds: number; readonly replaced: IpSource | undefined }
  /** One too many, but somebody proved to be there: reported once, in place of a ban. */
  | { readonly kind: "spared" }
  /** Too many new sources in a minute; `began` for the first of them. */
  | { readonly kind: "flood"; readonly began: boolean };

interface Offender {
  /** When it sent what was invalid, ms, oldest first; no more than are needed. */
  readonly times: number[];
  spared: boolean;
}

interface Ban {
  untilMs: number;
  second: number;
  looked: number;
}

const counted: Judgement = { kind: "counted" };

/**
 * Counts invalid packets by source, and says whom to ban. It holds its own list of bans; the kernel's is a copy.
 *
 * Sources of UDP packets cost nothing to forge, so that a ban must not be a weapon: whoever proves who he is opens his window
 * from a banned source too; a source where somebody proved it in the last day, or is connected, is forgiven ten times as much; and when
 * very many sources offend at once, none is banned.
 */
export class Sentry {
  readonly #options: SentryOptions;
  readonly #offenders = new OldestOutMap<IpSource, Offender>(sourcesMax);
  readonly #bans = new OldestOutMap<IpSource, Ban>(sourcesMax);
  readonly #proven = new OldestOutMap<IpSource, number>(sourcesMax);
  readonly #live = new Map<IpSource, number>();
  #allBansAtMs = 0;
  #minute = 0;
  #newOffenders = 0;
  #flooded = false;

  constructor(options: SentryOptions) {
    this.#options = options;
  }

  /** Whether bans are suspended at the moment. */
  get flooded(): boolean {
    return this.#flooded;
  }

  get banCount(): number {
    return this.#bans.size;
  }

  /** Takes an invalid packet, or a failed authentication, into account. */
  offend(source: IpSource, nowMs: number): Judgement {
    if (this.isBanned(source, nowMs)) return counted;
    const began = this.#count(source, nowMs);
    if (this.#flooded) return { kind: "flood", began };
    const { invalidMax, withinSeconds, banSeconds } = this.#options;
    const proven = this.#isProven(source, nowMs);
    const limit = proven ? invalidMax * provenFactor : invalidMax;
    const offender = this.#offender(source);
    const { times } = offender;
    times.push(nowMs);
    if (times.length > limit + 1) times.splice(0, times.length - limit - 1);
    if (times.length <= limit || nowMs - (times[0] ?? 0) > withinSeconds * 1_000) {
      offender.spared = false;
      return counted;
    }
    if (proven) {
      if (offender.spared) return counted;
      offender.spared = true;
      return { kind: "spared" };
    }
    this.#offenders.delete(source);
    const replaced = this.ban(source, nowMs + banSeconds * 1_000);
    return { kind: "ban", seconds: banSeconds, replaced };
  }

  /** Somebody proved who he is, from there. */
  prove(source: IpSource, nowMs: number): void {
    this.#proven.set(source, nowMs);
  }

  /** A device is connected from there, or one less is. */
  connected(source: IpSource, change: 1 | -1): void {
    const count = (this.#live.get(source) ?? 0) + change;
    if (count <= 0) this.#live.delete(source);
    else if (this.#live.size < sourcesMax || this.#live.has(source)) this.#live.set(source, count);
  }

  /** The broker is gone, or about to tell anew who is connected. */
  forgetConnected(): void {
    this.#live.clear();
  }

  isBanned(source: IpSource, nowMs: number): boolean {
    const ban = this.#bans.get(source);
    if (ban === undefined) return false;
    if (ban.untilMs > nowMs) return true;
    this.#bans.delete(source);
    return false;
  }

  /** Whether a packet of this source is to be looked at: from a banned one a few a second, or none. */
  mayVerify(source: IpSource, nowMs: number): boolean {
    const ban = this.#bans.get(source);
    if (ban === undefined || !this.isBanned(source, nowMs)) return true;
    if (this.#options.strict) return false;
    const second = Math.floor(nowMs / 1_000);
    if (ban.second !== second) {
      ban.second = second;
      ban.looked = 0;
    }
    return ban.looked++ < bannedPacketsPerSecondMax;
  }

  /** Bans until then; the oldest ban makes room when there are too many. @returns whom it made room for. */
  ban(source: IpSource, untilMs: number): IpSource | undefined {
    return this.#bans.set(source, { untilMs, second: 0, looked: 0 });
  }

  /** @returns whether it was banned. */
  lift(source: IpSource): boolean {
    this.#offenders.delete(source);
    return this.#bans.delete(source);
  }

  bans(nowMs: number): { readonly source: IpSource; readonly untilMs: number }[] {
    const bans = [];
    for (const [source, { untilMs }] of this.#bans) if (untilMs > nowMs) bans.push({ source, untilMs });
    return bans;
  }

  /** Forgets what is over. Called now and then. */
  sweep(nowMs: number): void {
    this.#sweepBans(nowMs);
    // Both begin with whom they heard of longest ago.
    for (const [source, atMs] of this.#proven) {
      if (nowMs - atMs <= provenMs) break;
      this.#proven.delete(source);
    }
    for (const [source, { times }] of this.#offenders) {
      if (nowMs - (times.at(-1) ?? 0) <= this.#options.withinSeconds * 1_000) break;
      this.#offenders.delete(source);
    }
    this.#turnMinute(nowMs);
  }

  #sweepBans(nowMs: number): void {
    const all = Math.abs(nowMs - this.#allBansAtMs) >= allBansEveryMs;
    if (all) this.#allBansAtMs = nowMs;
    for (const source of this.#bans.keys()) {
      // Most bans are of one length, and end in the order in which they began.
      if (this.isBanned(source, nowMs) && !all) return;
    }
  }

  #isProven(source: IpSource, nowMs: number): boolean {
    return this.#live.has(source) || nowMs - (this.#proven.get(source) ?? -Infinity) <= provenMs;
  }

  #offender(source: IpSource): Offender {
    const offender = this.#offenders.get(source) ?? { times: [], spared: false };
    this.#offenders.set(source, offender);
    return offender;
  }

  /** Counts new offenders by the minute. @returns whether the flood begins with this one. */
  #count(source: IpSource, nowMs: number): boolean {
    this.#turnMinute(nowMs);
    if (this.#offenders.has(source)) return false;
    this.#newOffenders += 1;
    if (this.#flooded || this.#newOffenders <= offendersPerMinuteMax) return false;
    this.#flooded = true;
    return true;
  }

  #turnMinute(nowMs: number): void {
    const minute = Math.floor(nowMs / 60_000);
    if (minute === this.#minute) return;
    // A flood is over when a whole minute was quiet.
    if (this.#newOffenders <= offendersPerMinuteMax || minute > this.#minute + 1) this.#flooded = false;
    this.#minute = minute;
    this.#newOffenders = 0;
  }
}
