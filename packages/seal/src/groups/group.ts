import { isTopicFilter } from "@postern/mqtt/topics";

import { isSender } from "../envelope/header.ts";
import { groupSecretBytes } from "../keys/group-key.ts";

/** How the topics of a group are protected. A checksum needs no key, and so no group. */
export type GroupMode = "mac" | "signed" | "encrypted" | "signed+encrypted";

export const groupModes: readonly GroupMode[] = ["mac", "signed", "encrypted", "signed+encrypted"];

/** Limits of what one package may hold, checked before it is made and when it is read. */
export const groupLimits = {
  groups: 256,
  filters: 64,
  epochs: 64,
  signers: 1_024,
  keysPerSigner: 4,
} as const;

/** What a group is for, as its members are told. */
export interface GroupRule {
  readonly name: string;
  /** Topic filters; of several groups that a topic matches, the one with the most exact filter counts. */
  readonly filters: readonly string[];
  readonly mode: GroupMode;
  /** Receivers refuse what was sealed longer ago. */
  readonly maxAgeSeconds: number | undefined;
  /** Whether receivers accept retained messages. */
  readonly retained: boolean;
}

/** A key of a group, and its time. */
export interface GroupEpoch {
  readonly epoch: number;
  readonly secret: Uint8Array;
  /** Members seal with it from then on, until a later one begins. */
  readonly notBeforeMs: number;
  /** Members open with it until then; without an end as long as it is the newest. */
  readonly openUntilMs: number | undefined;
}

export interface GroupMember {
  readonly device: string;
  /** Public keys of its certificates (SubjectPublicKeyInfo, DER), the newest first: the key package is encrypted to the first. */
  readonly keys: readonly Uint8Array[];
  /** Whether others accept what it signs. */
  readonly signs: boolean;
  /** The first epoch that it is given. */
  readonly joinedEpoch: number;
}

/** A group as its key authority keeps it. Holds secrets. */
export interface Group extends GroupRule {
  /** A new key is due after that time; `undefined` when only a change of members brings one. */
  readonly rotateSeconds: number | undefined;
  /** How long what was sealed with an older key can still be opened, as for messages that wait for a device that is away. */
  readonly graceSeconds: number;
  /** The newest first. */
  readonly epochs: readonly GroupEpoch[];
  readonly members: readonly GroupMember[];
}

interface Chance {
  readonly nowMs: number;
  readonly randomBytes: (bytes: number) => Uint8Array;
}

export interface RotateOptions extends Chance {
  /** Members get the new key this long before it is used. */
  readonly leadMs?: number;
  /** How long older keys still open; the group's own `graceSeconds` where it is not given. */
  readonly graceMs?: number;
}

/** What is wrong with a group, as a sentence; `undefined` when it can be one. */
export function groupProblem({ name, filters, maxAgeSeconds }: GroupRule): string | undefined {
  if (!isSender(name)) return `"${name}" is not a name: 1 to 256 bytes without control characters`;
  if (filters.length === 0 || filters.length > groupLimits.filters) {
    return `a group has 1 to ${groupLimits.filters} topic filters, not ${filters.length}`;
  }
  const wrong = filters.find((filter) => !isTopicFilter(filter) || filter.startsWith("$"));
  if (wrong !== undefined) return `"${wrong}" is not a topic filter of messages that devices exchange`;
  if (maxAgeSeconds !== undefined && !(Number.isInteger(maxAgeSeconds) && maxAgeSeconds > 0)) {
    return "the greatest age of a message is a whole number of seconds";
  }
  return undefined;
}

/** The group with a new key: older ones are for opening only, and that for a limited time. */
export function rotated(group: Group, options: RotateOptions): Group {
  const { nowMs, leadMs = 0, graceMs = group.graceSeconds * 1000, randomBytes } = options;
  const newest = group.epochs[0];
  const notBeforeMs = nowMs + leadMs;
  const older = group.epochs.map((each) => ({
    ...each,
    openUntilMs: Math.min(each.openUntilMs ?? Infinity, notBeforeMs + graceMs),
  }));
  const next: GroupEpoch = {
    epoch: (newest?.epoch ?? 0) + 1,
    secret: randomBytes(groupSecretBytes),
    notBeforeMs,
    openUntilMs: undefined,
  };
  const open = older.filter(({ openUntilMs }) => openUntilMs > nowMs);
  return { ...group, epochs: [next, ...open].slice(0, groupLimits.epochs) };
}

/** Whether the newest key has been in use for long enough. */
export function isRotationDue({ epochs, rotateSeconds }: Group, nowMs: number): boolean {
  const newest = epochs[0];
  if (newest === undefined) return true;
  return rotateSeconds !== undefined && nowMs >= newest.notBeforeMs + rotateSeconds * 1000;
}

/**
 * The group with members more, or with other keys or rights of those it has. New ones bring a new key, and are given keys from that one
 * on only: what was sealed before is not for them.
 */
export function withMembers(
  group: Group,
  members: readonly Omit<GroupMember, "joinedEpoch">[],
  options: RotateOptions,
): Group {
  const joinedEpochs = new Map(group.members.map(({ device, joinedEpoch }) => [device, joinedEpoch]));
  const named = new Set(members.map(({ device }) => device));
  const next = members.every(({ device }) => joinedEpochs.has(device)) ? group : rotated(group, options);
  const newest = next.epochs[0]?.epoch ?? 0;
  const put = members.map(({ device, keys, signs }) => ({
    device,
    keys,
    signs,
    joinedEpoch: joinedEpochs.get(device) ?? newest,
  }));
  return { ...next, members: [...group.members.filter(({ device }) => !named.has(device)), ...put] };
}

/** As `withMembers`, for one. */
export function withMember(
  group: Group,
  member: Omit<GroupMember, "joinedEpoch">,
  options: RotateOptions,
): Group {
  return withMembers(group, [member], options);
}

/**
 * The group without a member. What it knows is worthless at once: without a grace, also what was sealed before and is still on its way
 * opens no longer, since the member that left could seal with the old key, too.
 */
export function withoutMember(group: Group, device: string, options: RotateOptions): Group {
  const next = rotated(group, { graceMs: 0, ...options });
  return { ...next, members: next.members.filter((each) => each.device !== device) };
}
