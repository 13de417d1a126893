import type { Clock } from "@postern/core/clock";
import { connectPasswordBinding, connectPasswordMs } from "@postern/seal/envelope/connect-password";
import { open, type Opened, type Refused as SealRefused } from "@postern/seal/envelope/open";
import { structureOf } from "@postern/seal/envelope/structure";
import type { DecryptionKey } from "@postern/seal/keys/recipient";

/** Passwords that were accepted and could still come again. */
const acceptedMax = 100_000;

export type OpenedPassword =
  | {
      readonly kind: "opened";
      readonly password: Uint8Array;
      /** To be called once when it was judged: one that was right is good for nothing from then on. */
      settle(isAccepted: boolean): void;
    }
  | { readonly kind: "refused"; readonly reason: string };

export interface SealedPasswordsOptions {
  readonly decryption: DecryptionKey;
  readonly clock: Clock;
}

/**
 * Opens what stands in CONNECT's password where that is encrypted to the server's key. It is good for one client id and user name,
 * for a minute, and once. Only passwords that proved right are remembered, since anybody can encrypt to a public key; and none
 * that was sealed before the server started is accepted, since what was remembered then is gone.
 */
export class SealedPasswords {
  readonly #options: SealedPasswordsOptions;
  readonly #startedAtMs: number;
  /** What was sealed before may be one that is forgotten: it counts no more, though the clock, set back, shows it as new. */
  #forgottenToMs = 0;
  /** Those that were right or are being judged, with the wall clock at which they are too old anyway; the oldest first. */
  readonly #taken = new Map<string, { readonly untilMs: number; readonly sealedAtMs: number }>();

  constructor(options: SealedPasswordsOptions) {
    this.#options = options;
    this.#startedAtMs = options.clock.wallMs();
  }

  open(
    bytes: Uint8Array,
    { clientId, username }: { clientId: string; username: string | undefined },
  ): OpenedPassword {
    const { clock, decryption } = this.#options;
    const nowMs = clock.wallMs();
    const found = structureOf(bytes);
    if (found.kind !== "sealed") return refused(`its password is not sealed: ${found.reason}`);
    const { header } = found.structure;
    const place = connectPasswordBinding({ clientId, username });
    if (header.sender !== place.sender)
      return refused(`its password is sealed for another user than it names`);
    const id = `${Buffer.from(header.instance).toString("hex")} ${header.sequence} ${header.sender}`;
    this.#forget(nowMs);
    if (this.#taken.has(id)) return refused("its sealed password was used before");
    if (this.#taken.size >= acceptedMax) return refused("more sealed passwords than can be remembered");
    const opened = this.#openOnce(bytes, place, nowMs, decryption);
    if (opened.kind === "refused") return refused(`its password does not open: ${opened.reason}`);
    const { sealedAtMs = 0 } = opened;
    if (sealedAtMs < this.#startedAtMs)
      return refused("its password was sealed before the server started: it may try again");
    if (sealedAtMs <= this.#forgottenToMs)
      return refused(
        "its password may have been used before: the clock of the server, or its own, was set back",
      );
    this.#taken.set(id, { untilMs: nowMs + 2 * connectPasswordMs, sealedAtMs });
    const settle = (isAccepted: boolean): void => {
      if (!isAccepted) this.#taken.delete(id);
    };
    return { kind: "opened", password: opened.payload, settle };
  }

  #openOnce(
    bytes: Uint8Array,
    place: { readonly tenant: string; readonly topic: string },
    nowMs: number,
    decryption: DecryptionKey,
  ): Opened | SealRefused {
    const age = { nowMs, maxMs: connectPasswordMs, aheadMaxMs: connectPasswordMs };
    return open(bytes, place, { decryption: [decryption] }, { modes: ["encrypted"], age });
  }

  #forget(nowMs: number): void {
    for (const [id, { untilMs, sealedAtMs }] of this.#taken) {
      if (untilMs > nowMs) return;
      this.#taken.delete(id);
      this.#forgottenToMs = Math.max(this.#forgottenToMs, sealedAtMs);
    }
  }
}

function refused(reason: string): OpenedPassword {
  return { kind: "refused", reason };
}
