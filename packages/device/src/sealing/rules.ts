import { createPublicKey } from "node:crypto";

import { isTopicFilter, matchesFilter } from "@postern/mqtt/topics";
import type { MissingKey, OpeningKeys } from "@postern/seal/envelope/open";
import type { Protection } from "@postern/seal/envelope/seal";
import type { SealMode } from "@postern/seal/envelope/structure";
import { compareExactness } from "@postern/seal/groups/exactness";
import type { GroupRule } from "@postern/seal/groups/group";
import type { Keyring, SealingChoice } from "@postern/seal/groups/keyring";
import { GroupKey } from "@postern/seal/keys/group-key";
import { recipientKey, type RecipientKey } from "@postern/seal/keys/recipient";
import { verifyingKey, type SigningKey, type VerifyingKey } from "@postern/seal/keys/signature";

/** How payloads on some topics are protected. What is given here counts before what the key authority says. */
export interface SealRule {
  /** The topics; of several rules that match, the most exact counts. */
  readonly filter: string;
  readonly mode: SealMode;
  /** Certificates or public keys (PEM) of those who may sign, by the name of the device. Those of the group unless given. */
  readonly signers?: Readonly<Record<string, readonly string[]>>;
  /** Certificates or public keys (PEM) of those it is encrypted to, in the place of a group's key. */
  readonly recipients?: readonly string[];
  /** The keys of a group without a key authority: 32 bytes each; the one with the greatest epoch seals. */
  readonly keys?: readonly { readonly epoch: number; readonly secret: Uint8Array }[];
  /** Refuse what was sealed longer ago. */
  readonly maxAgeSeconds?: number;
  /** Take retained messages, one for each topic and subscription; false unless given. */
  readonly retained?: boolean;
}

interface LocalRule {
  readonly filter: string;
  readonly mode: SealMode;
  readonly signers: ReadonlyMap<string, readonly VerifyingKey[]> | undefined;
  readonly recipients: readonly RecipientKey[] | undefined;
  /** The newest first. */
  readonly keys: readonly GroupKey[] | undefined;
  readonly maxAgeSeconds: number | undefined;
  readonly retained: boolean;
}

/** What is demanded of a topic. */
export interface Demand {
  readonly mode: SealMode;
  readonly maxAgeSeconds: number | undefined;
  readonly retained: boolean;
  readonly keys: OpeningKeys;
  /**
   * Whose claims are told apart from what is proved, and from the claims of others: whoever has the key of one group can name any sender,
   * and must not use up the numbers of what that one says to another. `undefined` where the sender is proved.
   */
  readonly claimedIn: string | undefined;
  /** Whether its epochs are those of a group that the key authority looks after. Others say nothing of when a number may be forgotten. */
  readonly isOfGroup: boolean;
}

function verifying(pem: string): VerifyingKey {
  return verifyingKey(createPublicKey(pem));
}

/** @throws {TypeError}, {RangeError} for a rule that cannot be. */
function localRule(rule: SealRule): LocalRule {
  const { filter, mode, signers, recipients, keys, maxAgeSeconds, retained = false } = rule;
  if (!isTopicFilter(filter)) throw new TypeError(`"${filter}" is not a topic filter`);
  const groups = keys?.map(({ epoch, secret }) => GroupKey.of(secret, epoch));
  return {
    filter,
    mode,
    signers:
      signers && new Map(Object.entries(signers).map(([name, pems]) => [name, pems.map(verifying)] as const)),
    recipients: recipients?.map((pem) => recipientKey(createPublicKey(pem))),
    keys: groups?.toSorted((a, b) => b.epoch - a.epoch),
    maxAgeSeconds,
    retained,
  };
}

/** So many filters of groups are remembered, the latest. */
const formerlyMax = 1_024;

/** The rules of the application over those of the key authority. */
export class Rules {
  readonly #local: readonly LocalRule[];
  readonly #keyring: () => Keyring;
  #formerly: readonly string[];
  #overOf:
    | {
        readonly keyring: Keyring;
        readonly serial: number;
        readonly formerly: readonly string[];
        readonly filters: readonly string[];
      }
    | undefined;

  /** @throws {TypeError}, {RangeError} for a rule that cannot be. */
  constructor(rules: readonly SealRule[], keyring: () => Keyring, formerly: readonly string[]) {
    this.#formerly = formerly;
    this.#local = rules.map(localRule).sort((a, b) => compareExactness(a.filter, b.filter));
    this.#keyring = keyring;
  }

  /** Notes the filters of the groups. @returns all there ever were, if they are more now. */
  note(filters: readonly string[]): readonly string[] | undefined {
    const known = new Set(this.#formerly);
    if (filters.every((filter) => known.has(filter))) return undefined;
    const current = new Set(filters);
    // Those of groups that there are now are remembered the longest.
    const all = [...this.#formerly.filter((filter) => !current.has(filter)), ...current].slice(-formerlyMax);
    this.#formerly = all;
    return all;
  }

  #localFor(topic: string): LocalRule | undefined {
    return this.#local.find(({ filter }) => matchesFilter(filter, topic));
  }

  /** Whether the application itself has a rule for a topic. */
  hasOwnRule(topic: string): boolean {
    return this.#localFor(topic) !== undefined;
  }

  /** Filters of groups that this device is no member of any more. */
  #over(keyring: Keyring): readonly string[] {
    const { serial } = keyring;
    const known = this.#overOf;
    if (known?.keyring === keyring && known.serial === serial && known.formerly === this.#formerly)
      return known.filters;
    const current = new Set(keyring.rules.flatMap((rule) => rule.filters));
    const filters = this.#formerly.filter((filter) => !current.has(filter));
    this.#overOf = { keyring, serial, formerly: this.#formerly, filters };
    return filters;
  }

  /**
   * Whether a topic is that of a group whose member this device was. It does not fall to a group with a wider filter, as all of its members
   * could forge then what only few could sign before, and read what was for few.
   */
  #isClosed(topic: string, group: GroupRule | undefined): boolean {
    const over = this.#over(this.#keyring()).filter((filter) => matchesFilter(filter, topic));
    if (over.length === 0 || group === undefined) return over.length > 0;
    const matching = group.filters.filter((filter) => matchesFilter(filter, topic));
    return over.some((filter) => matching.every((other) => compareExactness(filter, other) < 0));
  }

  /** `undefined` for a topic whose payloads are not sealed. */
  demandOn(topic: string): Demand | undefined {
    const keyring = this.#keyring();
    const local = this.#localFor(topic);
    const group = keyring.ruleFor(topic);
    if (local === undefined && this.#isClosed(topic, group))
      return {
        mode: "encrypted",
        maxAgeSeconds: undefined,
        retained: false,
        keys: {},
        claimedIn: undefined,
        isOfGroup: false,
      };
    if (local === undefined) {
      return (
        group && {
          mode: group.mode,
          maxAgeSeconds: group.maxAgeSeconds,
          retained: group.retained,
          keys: keyring,
          claimedIn: claimedIn(group.mode, `group ${group.name}`),
          isOfGroup: true,
        }
      );
    }
    return {
      mode: local.mode,
      maxAgeSeconds: local.maxAgeSeconds ?? group?.maxAgeSeconds,
      retained: local.retained,
      isOfGroup: group !== undefined && local.keys === undefined && local.recipients === undefined,
      claimedIn: claimedIn(
        local.mode,
        local.keys === undefined && group !== undefined ? `group ${group.name}` : `own ${local.mode}`,
      ),
      keys: {
        groupKey: (name, epoch) =>
          local.keys === undefined ? keyring.groupKey(name, epoch) : keyOf(local.keys, epoch),
        signers: (name, sender) =>
          local.signers === undefined ? keyring.signers(name, sender) : (local.signers.get(sender) ?? []),
        decryption: takesOwn(local, keyring, group !== undefined) ? keyring.ownKeys : undefined,
      },
    };
  }

  /** How to seal on a topic with a demand, or why that cannot be. */
  sealing(topic: string, signing: SigningKey | undefined): SealingChoice | string {
    const local = this.#localFor(topic);
    if (local === undefined && this.#isClosed(topic, this.#keyring().ruleFor(topic)))
      return "this device is no member of its group any more";
    const choice =
      local === undefined || (local.keys === undefined && needsGroup(local))
        ? this.#keyring().sealing(topic, signing)
        : localChoice(local, signing);
    if (choice === "no-key") return "there is no key for it yet";
    if (choice === "no-signing-key") return "this device has no key to sign with";
    const wanted = this.demandOn(topic);
    if (wanted !== undefined && choice.protection.mode !== wanted.mode)
      return `the key authority gives keys for "${choice.protection.mode}", and the rule wants "${wanted.mode}"`;
    return { ...choice, dated: choice.dated || wanted?.maxAgeSeconds !== undefined };
  }
}

function claimedIn(mode: SealMode, scope: string): string | undefined {
  return mode === "signed" || mode === "signed+encrypted" ? undefined : scope;
}

/**
 * Whether what is encrypted to this device's public key counts on a topic. Everybody can do that: where a group's key is expected it is no
 * proof of anything, and a broker that keeps the keys of the group back must not gain by it.
 */
function takesOwn(
  { mode, keys, recipients, signers }: LocalRule,
  keyring: Keyring,
  hasGroup: boolean,
): boolean {
  if (keys !== undefined) return false;
  if (recipients !== undefined || (mode === "signed+encrypted" && signers !== undefined)) return true;
  return !hasGroup && !keyring.hasAuthority;
}

function needsGroup({ mode, recipients }: LocalRule): boolean {
  return mode === "mac" || (recipients === undefined && mode !== "checksum" && mode !== "signed");
}

function keyOf(keys: readonly GroupKey[], epoch: number): GroupKey | MissingKey {
  const newest = keys[0]?.epoch ?? 0;
  return keys.find((key) => key.epoch === epoch) ?? (epoch > newest ? "future-epoch" : "expired-epoch");
}

function localChoice(
  rule: LocalRule,
  signing: SigningKey | undefined,
): SealingChoice | "no-key" | "no-signing-key" {
  const protection = protectionOf(rule, signing);
  if (typeof protection === "string") return protection;
  const epoch = "group" in protection ? (protection.group?.epoch ?? 0) : 0;
  return { protection, epoch, dated: rule.maxAgeSeconds !== undefined };
}

function protectionOf(
  { mode, keys, recipients }: LocalRule,
  signing: SigningKey | undefined,
): Protection | "no-key" | "no-signing-key" {
  const group = keys?.[0];
  switch (mode) {
    case "checksum":
      return { mode };
    case "mac":
      return group === undefined ? "no-key" : { mode, group };
    case "signed":
      return signing === undefined ? "no-signing-key" : { mode, signing };
    case "encrypted":
      if (recipients !== undefined) return { mode, recipients };
      return group === undefined ? "no-key" : { mode, group };
    case "signed+encrypted":
      if (signing === undefined) return "no-signing-key";
      if (recipients !== undefined) return { mode, signing, recipients };
      return group === undefined ? "no-key" : { mode, signing, group };
    default:
      return mode satisfies never;
  }
}
