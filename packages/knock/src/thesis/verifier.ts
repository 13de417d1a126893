import { createHash, timingSafeEqual } from "node:crypto";

import type { PacketMemory } from "../fwknop/verifier.ts";
import type { IpAddress } from "../ip-address.ts";
import { refused, type KnockSource, type Verdict } from "../verdict.ts";

/** Every packet is tried with each, so that there can be only few. */
export const passwordsMax = 32;

/** What is opened to those who know a password. */
export interface ThesisPassword {
  readonly name: string;
  readonly password: string;
  readonly ports: readonly number[];
  readonly windowSeconds: number;
}

export interface ThesisOptions {
  /** Up to 32. */
  readonly passwords: readonly ThesisPassword[];
  /** How many seconds the client's clock may be off. The thesis's daemon takes its own second only: 0. */
  readonly skewSeconds: number;
  readonly memory: PacketMemory;
  /** When the memory was found lost, ms since 1970: nothing that could be from before is accepted. */
  readonly memoryLostAtMs: number | undefined;
}

/** What the packet is the hash of. @see thesis §3.8.2 */
export function thesisText(seconds: number, address: IpAddress, password: string): string {
  return `${seconds}:${address}:${password}`;
}

/** The packet: 32 lower-case hexadecimal digits. @see thesis §3.6.3 */
export function thesisPacket(unixMs: number, address: IpAddress, password: string): Buffer {
  return Buffer.from(md5(thesisText(Math.floor(unixMs / 1000), address, password)));
}

function md5(text: string): string {
  return createHash("md5").update(text).digest("hex");
}

/**
 * Judges the packet of the thesis: hex MD5 of `timestamp:client-ip:password`. It is weak, and off unless somebody switches it
 * on: whoever sees one packet can try passwords on it at billions a second. Unlike the thesis's daemon this one takes each packet once.
 */
export class ThesisVerifier {
  readonly #options: ThesisOptions;

  /** Throws `RangeError` for too many passwords. */
  constructor(options: ThesisOptions) {
    if (options.passwords.length > passwordsMax) {
      throw new RangeError(`at most ${passwordsMax} passwords, not ${options.passwords.length}`);
    }
    this.#options = options;
  }

  /** Judges what one datagram or one connection brought; a line end after it does not matter. Never throws. */
  verify(bytes: Uint8Array, source: KnockSource, nowMs: number): Verdict {
    if (bytes.length < 32 || bytes.length > 34) return refused("malformed");
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
    const [, received] = /^([0-9a-f]{32})\r?\n?$/.exec(text) ?? [];
    if (received === undefined) return refused("malformed");
    const found = this.#find(received, source.address, Math.floor(nowMs / 1000));
    if (found === undefined) return refused("wrong-key");
    const { memory, memoryLostAtMs, skewSeconds } = this.#options;
    const { name, ports, windowSeconds } = found.password;
    if (memory.has(received)) return refused("replayed", name);
    if (memoryLostAtMs !== undefined && found.seconds * 1000 <= memoryLostAtMs + skewSeconds * 1000) {
      return refused("counters-lost", name);
    }
    if (!memory.add(received, nowMs + 2000 * (skewSeconds + 1))) return refused("overloaded", name);
    return {
      kind: "accepted",
      action: "open",
      device: name,
      address: source.address,
      sourcePort: 0,
      ports,
      windowSeconds,
      certBind: undefined,
      madeAtMs: undefined,
    };
  }

  #find(
    received: string,
    address: IpAddress,
    nowSeconds: number,
  ): { readonly password: ThesisPassword; readonly seconds: number } | undefined {
    const { passwords, skewSeconds } = this.#options;
    const wanted = Buffer.from(received);
    let found: { readonly password: ThesisPassword; readonly seconds: number } | undefined;
    for (const password of passwords) {
      for (let seconds = nowSeconds - skewSeconds; seconds <= nowSeconds + skewSeconds; seconds++) {
        const expected = Buffer.from(md5(thesisText(seconds, address, password.password)));
        if (timingSafeEqual(expected, wanted)) found ??= { password, seconds };
      }
    }
    return found;
  }
}
