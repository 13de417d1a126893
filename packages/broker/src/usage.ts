import type { PermissionLimits } from "./ports.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Rates that several connections keep together. */
export class SharedRates {
  readonly messages: TokenBucket;
  readonly bytes: TokenBucket;

  constructor(nowMs: number) {
    this.messages = new TokenBucket(0, nowMs);
    this.bytes = new TokenBucket(0, nowMs);
  }

  limit(messagesPerSecondMax: number | undefined, bytesPerSecondMax: number | undefined): void {
    this.messages.perSecond = messagesPerSecondMax ?? 0;
    this.bytes.perSecond = bytesPerSecondMax ?? 0;
  }

  get isLimited(): boolean {
    return this.messages.perSecond > 0 || this.bytes.perSecond > 0;
  }
}

/** What one identity uses, over all its sessions; all anonymous clients are one identity. */
export class Usage {
  sessions = 0;
  /** Messages that wait for its sessions. */
  queuedBytes = 0;
  readonly rates: SharedRates;

  constructor(nowMs: number) {
    this.rates = new SharedRates(nowMs);
  }
}

const unlimited: readonly SharedRates[] = [];

/** What all identities and roles use, as far as somebody may limit it. */
export class Usages {
  readonly #byIdentity = new Map<string, Usage>();
  readonly #byRole = new Map<string, SharedRates>();

  /** Of the identity by its name. Counts a session, which `release` gives back. */
  take(identity: string, nowMs: number): Usage {
    let usage = this.#byIdentity.get(identity);
    if (usage === undefined) {
      usage = new Usage(nowMs);
      this.#byIdentity.set(identity, usage);
    }
    usage.sessions += 1;
    return usage;
  }

  release(identity: string): void {
    const usage = this.#byIdentity.get(identity);
    if (usage === undefined) return;
    usage.sessions -= 1;
    if (usage.sessions === 0) this.#byIdentity.delete(identity);
  }

  sessionsOf(identity: string): number {
    return this.#byIdentity.get(identity)?.sessions ?? 0;
  }

  /** The rates that hold for a client, as its permissions have them now: its identity's, and those of its roles. */
  ratesOf(usage: Usage, limits: PermissionLimits, nowMs: number): readonly SharedRates[] {
    usage.rates.limit(limits.messagesPerSecondMax, limits.bytesPerSecondMax);
    if (limits.together.length === 0) return usage.rates.isLimited ? [usage.rates] : unlimited;
    const ofRoles = limits.together.map(({ role, messagesPerSecondMax, bytesPerSecondMax }) => {
      let rates = this.#byRole.get(role);
      if (rates === undefined) {
        rates = new SharedRates(nowMs);
        this.#byRole.set(role, rates);
      }
      rates.limit(messagesPerSecondMax, bytesPerSecondMax);
      return rates;
    });
    return [usage.rates, ...ofRoles].filter(({ isLimited }) => isLimited);
  }
}
