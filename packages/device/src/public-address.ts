import { parseIpAddress, type IpAddress } from "@postern/knock/ip-address";

import { readIfThere, replacePrivateFile } from "./private-file.ts";

/** Networks that a device is remembered in, by its own address there. */
const addressesMax = 16;

/**
 * Which address a device behind NAT is seen from, as its server told it or its user knows. Kept in a file beside the bundle; where that
 * cannot be written, for as long as the program runs.
 */
export class PublicAddress {
  readonly #file: string | undefined;
  /** By the address that the device has itself: the one that servers see. */
  #seen: Map<IpAddress, IpAddress> | undefined;

  /** `file` is the bundle's; `undefined` for one that is in no file. */
  constructor(file: string | undefined) {
    this.#file = file === undefined ? undefined : `${file}.address`;
  }

  /** The public address of a device that has this one itself; `undefined` when it is the same, or nobody said. */
  of(own: IpAddress): IpAddress | undefined {
    return this.#known().get(own);
  }

  /** A server said which address it sees, or the user did. */
  learn(own: IpAddress, seen: IpAddress): void {
    const known = this.#known();
    if ((known.get(own) ?? own) === seen) return;
    known.delete(own);
    if (seen !== own) known.set(own, seen);
    for (const oldest of known.keys()) if (known.size > addressesMax) known.delete(oldest);
    if (this.#file === undefined) return;
    try {
      const text = JSON.stringify({ postern: 1, seen: Object.fromEntries(known) });
      replacePrivateFile(this.#file, `${text}\n`);
    } catch {
      // A bundle may be where nothing can be written: then it is learnt again.
    }
  }

  #known(): Map<IpAddress, IpAddress> {
    if (this.#seen !== undefined) return this.#seen;
    this.#seen = new Map();
    if (this.#file === undefined) return this.#seen;
    try {
      const value: unknown = JSON.parse(readIfThere(this.#file) ?? "{}");
      for (const [own, seen] of seenIn(value)) {
        const [from, to] = [parseIpAddress(own), typeof seen === "string" ? parseIpAddress(seen) : undefined];
        if (from !== undefined && to !== undefined) this.#seen.set(from, to);
      }
    } catch {
      // A damaged file is as good as none: it is learnt again.
    }
    return this.#seen;
  }
}

function seenIn(value: unknown): [string, unknown][] {
  if (typeof value !== "object" || value === null || !("postern" in value) || value.postern !== 1) return [];
  return "seen" in value && typeof value.seen === "object" && value.seen !== null
    ? Object.entries(value.seen)
    : [];
}
