import { isIPv6 } from "node:net";

import type { Clock } from "@postern/core/clock";

/** Requests of one address; a site behind one address may start a hundred devices at once. */
const requestsPerMinuteMax = 600;
/** Of these, so many may fail to prove who they are. */
const failuresPerMinuteMax = 20;
/** Addresses that are counted one by one; all others share one count. */
const addressesMax = 10_000;

const minuteMs = 60_000;

interface Count {
  requests: number;
  failures: number;
}

/** IPv6 hosts choose among 2^64 addresses, so what counts is the network. */
function networkOf(address: string): string {
  const plain = address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
  if (!isIPv6(plain)) return plain;
  const [head = "", tail] = plain.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [
    ...before,
    ...Array.from({ length: Math.max(8 - before.length - after.length, 0) }, () => "0"),
    ...after,
  ];
  return groups.slice(0, 4).join(":");
}

/** Counts requests and failures by the address they come from, for a minute at a time. */
export class Throttle {
  readonly #clock: Clock;
  #endsMs = Number.NEGATIVE_INFINITY;
  #counts = new Map<string, Count>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts a request. @returns the seconds to wait when there were too many, otherwise `undefined`. */
  request(address: string): number | undefined {
    const count = this.#count(address);
    count.requests += 1;
    if (count.requests <= requestsPerMinuteMax && count.failures < failuresPerMinuteMax) return undefined;
    return Math.max(Math.ceil((this.#endsMs - this.#clock.monotonicMs()) / 1_000), 1);
  }

  /** Counts a request that proved nothing. */
  failure(address: string): void {
    this.#count(address).failures += 1;
  }

  #count(address: string): Count {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#endsMs) {
      this.#endsMs = nowMs + minuteMs;
      this.#counts = new Map();
    }
    const network = networkOf(address);
    const key = this.#counts.has(network) || this.#counts.size < addressesMax ? network : "";
    let count = this.#counts.get(key);
    if (count === undefined) {
      count = { requests: 0, failures: 0 };
      this.#counts.set(key, count);
    }
    return count;
  }
}
