import { hash, randomBytes } from "node:crypto";

import { deviceNameRule, isDeviceName } from "@postern/pki/device-uri";
import { z } from "zod";

import type { Device } from "../device.ts";
import { EnrolmentError } from "../errors.ts";
import { Journal } from "../journal.ts";

const header = { postern: 1, file: "enrolments" } as const;

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** How long a token can be used unless somebody says otherwise, and at most. */
const tokenLifeMsDefault = hourMs;
const tokenLifeMsMax = 30 * dayMs;

/** Tokens that were not used yet; each is somebody's way in. */
const openTokensMax = 100_000;

/** So long a token that was used, cancelled or ran out is still shown. */
const closedTokenDaysMax = 30;

/** Forgetting looks at all tokens, so it is done once for so many new ones. */
const compactEvery = 1_000;

/** 192 bits: nobody finds one by trying, so a plain hash of it can be kept. */
const secretBytes = 24;

/** Shows what a text is to whoever finds it, and to programs that look for secrets. */
const secretPrefix = "pet_";

const name = z.string().refine(isDeviceName);
const time = z.iso.datetime();

const recordSchema = z.strictObject({
  /** How people call it. */
  id: z.string().regex(/^[0-9a-f]{8}$/),
  /** SHA-256 of the secret. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  device: name,
  tenant: name,
  /** What the device gets when it is not there yet. */
  roles: z.array(name),
  groups: z.array(name),
  created: time,
  expires: time,
  cancelled: time.optional(),
  /** `keyId` is that of the request it was used for. */
  used: z.strictObject({ at: time, from: z.string().max(64), keyId: z.string().max(64) }).optional(),
});
const entrySchema = z.strictObject({ put: recordSchema });

/** A token as it is kept: without the secret. */
export type EnrolmentToken = Readonly<z.infer<typeof recordSchema>>;
export type TokenState = "open" | "used" | "cancelled" | "expired";

export interface NewToken {
  readonly device: string;
  readonly tenant: string;
  readonly roles?: readonly string[];
  readonly groups?: readonly string[];
  readonly lifeMs?: number;
}

export function tokenState({ used, cancelled, expires }: EnrolmentToken, nowMs: number): TokenState {
  if (used !== undefined) return "used";
  if (cancelled !== undefined) return "cancelled";
  return nowMs >= Date.parse(expires) ? "expired" : "open";
}

/** Whether a token was made for a device that was revoked or removed afterwards, and is trusted again now: whoever has it may be why. */
export function isFromBefore({ created }: EnrolmentToken, device: Pick<Device, "trustedAgain">): boolean {
  return device.trustedAgain !== undefined && Date.parse(created) < Date.parse(device.trustedAgain);
}

/** When a token ended, or will. */
function closedAtMs({ used, cancelled, expires }: EnrolmentToken): number {
  return Date.parse(used?.at ?? cancelled ?? expires);
}

function tokenSecretHash(secret: string): string {
  return hash("sha256", secret, "hex");
}

/**
 * One-time tokens by which devices ask for their first certificate. Held in memory, found by the hash of their secret, which
 * itself is kept nowhere; each change is on disk when the call returns. One process at a time may open it.
 */
export class EnrolmentTokens {
  readonly #journal: Journal;
  readonly #byId = new Map<string, EnrolmentToken>();
  readonly #idByHash = new Map<string, string>();

  /** Reads the file; a missing one is made by the first token. @throws {PkiFileError} when it is damaged. */
  constructor(path: string) {
    this.#journal = new Journal({
      path,
      header,
      title: "the list of enrolment tokens",
      take: (entry) => {
        const result = entrySchema.safeParse(entry);
        if (!result.success) throw new Error(result.error.issues[0]?.message ?? "");
        this.#index(result.data.put);
      },
    });
  }

  /** Newest first. */
  list(): EnrolmentToken[] {
    return [...this.#byId.values()].toReversed();
  }

  find(id: string): EnrolmentToken | undefined {
    return this.#byId.get(id);
  }

  /** The token with this secret, whatever its state. */
  findBySecret(secret: string): EnrolmentToken | undefined {
    return this.#byId.get(this.#idByHash.get(tokenSecretHash(secret)) ?? "");
  }

  /**
   * Makes a token; it is on disk when this returns.
   * @returns the secret, which nobody can be told again.
   * @throws {EnrolmentError} for names, lives and numbers that cannot be.
   */
  create(
    { device, tenant, roles = [], groups = [], lifeMs = tokenLifeMsDefault }: NewToken,
    nowMs: number,
  ): { readonly secret: string; readonly token: EnrolmentToken } {
    for (const given of [device, tenant, ...roles, ...groups]) {
      if (!isDeviceName(given)) throw new EnrolmentError(`"${given}" is not a name of ${deviceNameRule}`);
    }
    if (!(lifeMs >= 1_000 && lifeMs <= tokenLifeMsMax))
      throw new EnrolmentError("a token can be used for 1 second to 30 days");
    if (this.#byId.size % compactEvery === 0) this.compact(nowMs);
    if (this.#byId.size >= openTokensMax && this.#countOpen(nowMs) >= openTokensMax) {
      throw new EnrolmentError(
        `there are ${openTokensMax} tokens that were not used yet: cancel some, or wait until they run out`,
      );
    }
    const secret = secretPrefix + randomBytes(secretBytes).toString("base64url");
    const token: EnrolmentToken = {
      id: this.#newId(),
      hash: tokenSecretHash(secret),
      device,
      tenant,
      roles: [...roles],
      groups: [...groups],
      created: new Date(nowMs).toISOString(),
      expires: new Date(nowMs + lifeMs).toISOString(),
    };
    this.#put(token);
    return { secret, token };
  }

  /**
   * Uses a token up. Of several that try, one gets `true`, once that is on disk.
   * @throws {DataDirectoryError} when the disk refuses: then the token is as it was.
   */
  consume(id: string, by: { readonly from: string; readonly keyId: string }, nowMs: number): boolean {
    const token = this.#byId.get(id);
    if (token === undefined || tokenState(token, nowMs) !== "open") return false;
    this.#put({ ...token, used: { at: new Date(nowMs).toISOString(), ...by } });
    return true;
  }

  /** @returns the token as it is now, or `undefined` when there is none that could still be used. */
  cancel(id: string, nowMs: number): EnrolmentToken | undefined {
    const token = this.#byId.get(id);
    if (token === undefined || tokenState(token, nowMs) !== "open") return undefined;
    const cancelled = { ...token, cancelled: new Date(nowMs).toISOString() };
    this.#put(cancelled);
    return cancelled;
  }

  /** Forgets tokens that have been no good for long. */
  compact(nowMs: number): void {
    const forgotten = new Set<EnrolmentToken>();
    for (const token of this.#byId.values())
      if (closedAtMs(token) + closedTokenDaysMax * dayMs < nowMs) forgotten.add(token);
    const isStale = this.#journal.entries > 2 * this.#byId.size + compactEvery;
    if (forgotten.size === 0 && !isStale) return;
    const kept = [...this.#byId.values()].filter((token) => !forgotten.has(token));
    this.#journal.rewrite(kept.map((put) => ({ put })));
    for (const { id, hash: secretHash } of forgotten) {
      this.#byId.delete(id);
      this.#idByHash.delete(secretHash);
    }
  }

  /** Gives the file back. */
  close(): void {
    this.#journal.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #countOpen(nowMs: number): number {
    let open = 0;
    for (const token of this.#byId.values()) if (tokenState(token, nowMs) === "open") open += 1;
    return open;
  }

  #newId(): string {
    for (;;) {
      const id = randomBytes(4).toString("hex");
      if (!this.#byId.has(id)) return id;
    }
  }

  #put(token: EnrolmentToken): void {
    this.#journal.append({ put: token });
    this.#index(token);
  }

  #index(token: EnrolmentToken): void {
    this.#byId.set(token.id, token);
    this.#idByHash.set(token.hash, token.id);
  }
}
