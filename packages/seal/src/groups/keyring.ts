import { createPublicKey } from "node:crypto";

import { matchesFilter } from "@postern/mqtt/topics";

import type { MissingKey, OpeningKeys } from "../envelope/open.ts";
import type { Protection } from "../envelope/seal.ts";
import { GroupKey } from "../keys/group-key.ts";
import type { DecryptionKey } from "../keys/recipient.ts";
import { verifyingKey, type SigningKey, type VerifyingKey } from "../keys/signature.ts";
import { compareExactness } from "./exactness.ts";
import type { GroupEpoch, GroupRule } from "./group.ts";
import { openKeyPackage, type PackageAddress, type PackageRefusal } from "./key-package.ts";
import type { PackagedGroup } from "./package-content.ts";

export interface KeyringOptions extends PackageAddress {
  /** The keys of the key authority: of the one that is in use, and of the next. */
  readonly authorities: readonly VerifyingKey[];
  /** One's own keys, which packages are encrypted to. */
  readonly decryption: readonly DecryptionKey[];
  readonly now: () => number;
}

export type UpdateResult =
  | { readonly kind: "updated"; readonly serial: number }
  | { readonly kind: "refused"; readonly code: PackageRefusal; readonly reason: string };

interface HeldEpoch extends Omit<GroupEpoch, "secret"> {
  readonly key: GroupKey;
}

interface Held {
  readonly rule: GroupRule;
  /** The newest first. */
  readonly epochs: readonly HeldEpoch[];
  readonly signers: ReadonlyMap<string, readonly VerifyingKey[]>;
}

/** What a device seals with on a topic of one of its groups. */
export interface SealingChoice {
  readonly protection: Protection;
  readonly epoch: number;
  /** Whether receivers want to know when it was sealed. */
  readonly dated: boolean;
}

/**
 * The keys of a device's groups, from the packages that its key authority publishes for it. As what `open` is given it has no `decryption`:
 * everybody can encrypt to a public key, and on the topics of a group only what is sealed with its key shall count. To keep it over a restart, keep the bytes of
 * the newest package: they are encrypted to the device.
 */
export class Keyring implements OpeningKeys {
  readonly #options: KeyringOptions;
  #serial = -1;
  #groups: readonly Held[] = [];
  /** Every filter of every group, the most exact first. */
  #filters: readonly { readonly filter: string; readonly held: Held }[] = [];

  constructor(options: KeyringOptions) {
    this.#options = options;
  }

  /** The serial number of the package in use; -1 when there is none. */
  get serial(): number {
    return this.#serial;
  }

  /** Whether there is anybody who may give this device keys. */
  get hasAuthority(): boolean {
    return this.#options.authorities.length > 0;
  }

  /** The device's own keys, for topics that are of no group. */
  get ownKeys(): readonly DecryptionKey[] {
    return this.#options.decryption;
  }

  get rules(): readonly GroupRule[] {
    return this.#groups.map(({ rule }) => rule);
  }

  /** Takes a package in the place of the one before. One that was altered, is for somebody else, or is older changes nothing. */
  update(bytes: Uint8Array): UpdateResult {
    const result = openKeyPackage(bytes, this.#options, this.#options);
    if (result.kind === "refused") return result;
    const { serial, groups } = result.content;
    if (serial < this.#serial) {
      return {
        kind: "refused",
        code: "stale",
        reason: `it has the number ${serial}, ours has ${this.#serial}`,
      };
    }
    this.#groups = groups.map((group) => heldFrom(group, this.#groups));
    this.#filters = this.#groups
      .flatMap((held) => held.rule.filters.map((filter) => ({ filter, held })))
      .sort((a, b) => compareExactness(a.filter, b.filter));
    this.#serial = serial;
    return { kind: "updated", serial };
  }

  /** The rule for a topic: that of the group with the most exact filter. */
  ruleFor(topic: string): GroupRule | undefined {
    return this.#heldFor(topic)?.rule;
  }

  /** How to seal on a topic: `no-key` when it is of no group, or the group has no key. */
  sealing(topic: string, signing: SigningKey | undefined): SealingChoice | "no-key" | "no-signing-key" {
    const held = this.#heldFor(topic);
    const now = this.#options.now();
    // A new member, or one whose clock is behind, may have no key whose time has come: others open the next one, too.
    const current = held?.epochs.find(({ notBeforeMs }) => notBeforeMs <= now) ?? held?.epochs.at(-1);
    if (held === undefined || current === undefined) return "no-key";
    const { epoch, key: group } = current;
    const { mode, maxAgeSeconds } = held.rule;
    const dated = maxAgeSeconds !== undefined;
    switch (mode) {
      case "mac":
      case "encrypted":
        return { protection: { mode, group }, epoch, dated };
      case "signed":
        return signing === undefined ? "no-signing-key" : { protection: { mode, signing }, epoch, dated };
      case "signed+encrypted":
        return signing === undefined
          ? "no-signing-key"
          : { protection: { mode, signing, group }, epoch, dated };
    }
  }

  groupKey(topic: string, epoch: number): GroupKey | MissingKey {
    const held = this.#heldFor(topic);
    const newest = held?.epochs[0]?.epoch;
    if (held === undefined || newest === undefined) return "no-key";
    if (epoch > newest) return "future-epoch";
    const found = held.epochs.find((each) => each.epoch === epoch);
    if (found === undefined || (found.openUntilMs ?? Infinity) <= this.#options.now()) return "expired-epoch";
    return found.key;
  }

  signers(topic: string, sender: string): readonly VerifyingKey[] {
    return this.#heldFor(topic)?.signers.get(sender) ?? [];
  }

  /**
   * Whether something of that epoch may be opened now or later; 0 is the epoch of what belongs to no group. For `ReplayGuard.forget`. That its
   * time is over does not count, only that the package has no key of it any more: a clock that was ahead may be set back.
   */
  isLive(epoch: number): boolean {
    return epoch === 0 || this.#groups.some(({ epochs }) => epochs.some((each) => each.epoch === epoch));
  }

  #heldFor(topic: string): Held | undefined {
    return this.#filters.find(({ filter }) => matchesFilter(filter, topic))?.held;
  }
}

/** Keys that are there already are kept, with what they have derived. */
function heldFrom({ epochs, signers, ...rule }: PackagedGroup, before: readonly Held[]): Held {
  const known = before.find((each) => each.rule.name === rule.name)?.epochs ?? [];
  const ordered = epochs.toSorted((a, b) => b.epoch - a.epoch);
  return {
    rule,
    epochs: ordered.map(({ epoch, secret, notBeforeMs, openUntilMs }) => {
      const key = GroupKey.of(secret, epoch);
      return {
        epoch,
        notBeforeMs,
        openUntilMs,
        key: known.find((other) => other.key.equals(key))?.key ?? key,
      };
    }),
    signers: new Map(signers.map(({ device, keys }) => [device, keys.flatMap(usableKeys)])),
  };
}

/** A key that we cannot check signatures with is left out: what it signs is of an unknown sender. */
function usableKeys(spki: Uint8Array): VerifyingKey[] {
  try {
    return [verifyingKey(createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" }))];
  } catch {
    return [];
  }
}
