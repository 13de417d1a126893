import { isTopicFilter } from "@postern/mqtt/topics";

import { decodeCbor } from "../cbor/decode.ts";
import { encodeCbor } from "../cbor/encode.ts";
import type { CborValue } from "../cbor/value.ts";
import { isSender } from "../envelope/header.ts";
import { isArray } from "../envelope/structure.ts";
import { groupSecretBytes } from "../keys/group-key.ts";
import {
  groupLimits,
  groupModes,
  type Group,
  type GroupEpoch,
  type GroupMode,
  type GroupRule,
} from "./group.ts";

/** A device and the keys that it signs with (SubjectPublicKeyInfo, DER). */
export interface Signer {
  readonly device: string;
  readonly keys: readonly Uint8Array[];
}

/** A group as one of its members is given it. */
export interface PackagedGroup extends GroupRule {
  /** The newest first. */
  readonly epochs: readonly GroupEpoch[];
  /** Who may sign. */
  readonly signers: readonly Signer[];
}

/** What a member is given of its groups: keys from when it joined, as far as they still open anything. */
export function packagedFor(device: string, groups: readonly Group[], nowMs: number): PackagedGroup[] {
  const packaged: PackagedGroup[] = [];
  for (const group of groups) {
    const member = group.members.find((each) => each.device === device);
    if (member === undefined) continue;
    const { name, filters, mode, maxAgeSeconds, retained } = group;
    const epochs = group.epochs.filter(
      ({ epoch, openUntilMs }) => epoch >= member.joinedEpoch && (openUntilMs ?? Infinity) > nowMs,
    );
    const signers = group.members.filter(({ signs }) => signs).map(({ device, keys }) => ({ device, keys }));
    packaged.push({ name, filters, mode, maxAgeSeconds, retained, epochs, signers });
  }
  return packaged;
}

/** `[[name, [filter, …], mode, maxAgeSeconds or null, retained, [[epoch, secret, from, until or null], …], [[device, [key, …]], …]], …]` */
export function encodeContent(groups: readonly PackagedGroup[]): Buffer {
  return encodeCbor(
    groups.map(({ name, filters, mode, maxAgeSeconds, retained, epochs, signers }) => [
      name,
      filters,
      mode,
      maxAgeSeconds ?? null,
      retained,
      epochs.map(({ epoch, secret, notBeforeMs, openUntilMs }) => [
        epoch,
        secret,
        notBeforeMs,
        openUntilMs ?? null,
      ]),
      signers.map(({ device, keys }) => [device, keys]),
    ]),
  );
}

/** @returns what is wrong, as a text, when it is no such list. Never throws. */
export function decodeContent(bytes: Uint8Array): readonly PackagedGroup[] | string {
  const decoded = decodeCbor(bytes);
  if (decoded.kind === "malformed") return `its groups are not deterministic CBOR: ${decoded.reason}`;
  return listOf(decoded.value, groupLimits.groups, groupFrom) ?? "its list of groups is not as it should be";
}

function groupFrom(value: CborValue): PackagedGroup | undefined {
  if (!isArray(value) || value.length !== 7) return undefined;
  const [name, filters, mode, maxAge, retained, epochs, signers] = value;
  if (typeof name !== "string" || !isSender(name) || !isMode(mode) || typeof retained !== "boolean")
    return undefined;
  if (maxAge !== null && typeof maxAge !== "number") return undefined;
  const group = {
    filters: listOf(filters, groupLimits.filters, (each) =>
      typeof each === "string" && isTopicFilter(each) ? each : undefined,
    ),
    epochs: listOf(epochs, groupLimits.epochs, epochFrom),
    signers: listOf(signers, groupLimits.signers, signerFrom),
  };
  if (group.filters === undefined || group.epochs === undefined || group.signers === undefined)
    return undefined;
  return {
    name,
    mode,
    retained,
    maxAgeSeconds: maxAge ?? undefined,
    filters: group.filters,
    epochs: group.epochs,
    signers: group.signers,
  };
}

function epochFrom(value: CborValue): GroupEpoch | undefined {
  if (!isArray(value) || value.length !== 4) return undefined;
  const [epoch, secret, notBeforeMs, openUntil] = value;
  if (typeof epoch !== "number" || epoch < 0 || epoch > 0xffff_ffff || typeof notBeforeMs !== "number")
    return undefined;
  if (!(secret instanceof Uint8Array) || secret.length !== groupSecretBytes) return undefined;
  if (openUntil !== null && typeof openUntil !== "number") return undefined;
  return { epoch, secret, notBeforeMs, openUntilMs: openUntil ?? undefined };
}

function signerFrom(value: CborValue): Signer | undefined {
  if (!isArray(value) || value.length !== 2) return undefined;
  const [device, keys] = value;
  if (typeof device !== "string" || !isSender(device)) return undefined;
  const list = listOf(keys, groupLimits.keysPerSigner, (each) =>
    each instanceof Uint8Array ? each : undefined,
  );
  return list === undefined ? undefined : { device, keys: list };
}

function isMode(value: CborValue): value is GroupMode {
  return groupModes.some((mode) => mode === value);
}

function listOf<Item>(
  value: CborValue,
  max: number,
  itemOf: (value: CborValue) => Item | undefined,
): readonly Item[] | undefined {
  if (!isArray(value) || value.length > max) return undefined;
  const items: Item[] = [];
  for (const each of value) {
    const item = itemOf(each);
    if (item === undefined) return undefined;
    items.push(item);
  }
  return items;
}
