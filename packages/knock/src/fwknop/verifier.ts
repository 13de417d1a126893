import { createHash } from "node:crypto";

import { refused, windowSeconds, type KnockSource, type Verdict, type WindowLimits } from "../verdict.ts";
import { authenticated, decrypted, wireText } from "./cipher.ts";
import type { FwknopDigest } from "./digests.ts";
import { parseMessage, type FwknopAccess } from "./message.ts";

/** Every packet is tried with the key of each, so that there can be only few. */
export const stanzasMax = 32;
/** How far a packet's clock may be from the gate's, as fwknopd has it. */
export const ageMsMax = 120_000;

/** What one fwknop client, or all who share its keys, may do; fwknop's access stanza. */
export interface FwknopStanza {
  readonly name: string;
  /** KEY or the decoded KEY_BASE64: 1 to 32 bytes. */
  readonly key: Uint8Array;
  /** HMAC_KEY or the decoded HMAC_KEY_BASE64: 1 to 136 bytes. */
  readonly hmacKey: Uint8Array;
  readonly hmacDigest: FwknopDigest;
  /** The server's ports that it may open. */
  readonly ports: ReadonlySet<number>;
  /** Whether it may leave open which address it is for (0.0.0.0, `fwknop -s`). */
  readonly roaming: boolean;
  /** `undefined` for any. */
  readonly username: string | undefined;
  /** Whether messages protected with MD5 and SHA-1 are taken. */
  readonly weakDigests: boolean;
}

/** Remembers, across restarts, which packets were accepted. What is added counts for this process at once. */
export interface PacketMemory {
  has(digest: string): boolean;
  /** Until the wall clock says `untilMs`. @returns false when it is full. */
  add(digest: string, untilMs: number): boolean;
}

export interface FwknopOptions extends WindowLimits {
  /** Up to 32. */
  readonly stanzas: readonly FwknopStanza[];
  readonly memory: PacketMemory;
  /** When the memory was found lost, ms since 1970: nothing from before, and for the allowed age after, is accepted. */
  readonly memoryLostAtMs: number | undefined;
}

const weak: ReadonlySet<FwknopDigest> = new Set(["md5", "sha1"]);

/** Judges packets of the fwknop client: access requests with an HMAC, and nothing else it can send. */
export class FwknopVerifier {
  readonly #options: FwknopOptions;

  /** Throws `RangeError` for too many stanzas and for keys that fwknop could not use. */
  constructor(options: FwknopOptions) {
    if (options.stanzas.length > stanzasMax) {
      throw new RangeError(`at most ${stanzasMax} fwknop stanzas, not ${options.stanzas.length}`);
    }
    for (const { name, key, hmacKey } of options.stanzas) {
      if (key.length < 1 || key.length > 32 || hmacKey.length < 1 || hmacKey.length > 136) {
        throw new RangeError(`the keys of fwknop stanza ${name} have 1 to 32 and 1 to 136 bytes`);
      }
    }
    this.#options = options;
  }

  /** Judges one datagram. An accepted packet is in the memory when this returns. Never throws, whatever the bytes. */
  verify(datagram: Uint8Array, source: KnockSource, nowMs: number): Verdict {
    const wire = wireText(datagram);
    if (wire === undefined) return refused("malformed");
    let found: { readonly stanza: FwknopStanza; readonly encrypted: string } | undefined;
    // All are tried: the time must not tell which one it was.
    for (const stanza of this.#options.stanzas) {
      const encrypted = authenticated(wire, stanza);
      if (encrypted !== undefined) found ??= { stanza, encrypted };
    }
    if (found === undefined) return refused("wrong-key");
    const { stanza, encrypted } = found;
    const plain = decrypted(encrypted, stanza.key);
    if (plain === undefined) return refused("wrong-key", stanza.name);
    const message = parseMessage(plain);
    if (message.kind !== "access") return refused(message.kind, stanza.name);
    return this.#judge(stanza, message.access, { wire, source, nowMs });
  }

  #judge(
    stanza: FwknopStanza,
    access: FwknopAccess,
    { wire, source, nowMs }: { readonly wire: string; readonly source: KnockSource; readonly nowMs: number },
  ): Verdict {
    const { name } = stanza;
    const { memory, memoryLostAtMs } = this.#options;
    const digest = createHash("sha256").update(wire).digest("base64");
    if (memory.has(digest)) return refused("replayed", name);
    if (weak.has(access.digest) && !stanza.weakDigests) return refused("not-allowed", name);
    if (Math.abs(nowMs - access.timestampMs) > ageMsMax) return refused("stale", name);
    if (memoryLostAtMs !== undefined && access.timestampMs <= memoryLostAtMs + ageMsMax) {
      return refused("counters-lost", name);
    }
    if (access.address === "0.0.0.0") {
      if (!stanza.roaming) return refused("source-required", name);
    } else if (access.address !== source.address) {
      return refused("source-mismatch", name);
    }
    if (stanza.username !== undefined && access.username !== stanza.username) {
      return refused("wrong-key", name);
    }
    if (!access.tcpPorts.every((port) => stanza.ports.has(port))) return refused("service-not-granted", name);
    if (!memory.add(digest, nowMs + 2 * ageMsMax)) return refused("overloaded", name);
    return {
      kind: "accepted",
      action: "open",
      device: name,
      address: source.address,
      sourcePort: 0,
      ports: access.tcpPorts,
      windowSeconds: windowSeconds(access.timeoutSeconds, this.#options),
      certBind: undefined,
      madeAtMs: undefined,
    };
  }
}
