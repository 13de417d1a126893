import { createPublicKey, randomBytes } from "node:crypto";

import {
  groupProblem,
  isRotationDue,
  rotated,
  withMembers,
  withoutMember,
  type Group,
  type RotateOptions,
} from "@postern/seal/groups/group";
import { keyPackageTopic, sealKeyPackage } from "@postern/seal/groups/key-package";
import { followSuccession, successionTopic } from "@postern/seal/groups/succession";
import { packagedFor } from "@postern/seal/groups/package-content";
import { recipientKey } from "@postern/seal/keys/recipient";

import { UsageError } from "../errors.ts";
import { readDeviceKey, trustIn, type DeviceKey, type Trust } from "./device-keys.ts";
import type { KeyDirectory, KeyState } from "./key-directory.ts";

type StoredGroup = KeyState["groups"][number];

/** Keys of one device that are remembered: of its certificate, and of the one before, which may still be in use. */
const keysPerDevice = 2;

/** A group as `@postern/seal` knows it. */
export function groupFrom(stored: StoredGroup, devices: KeyState["devices"]): Group {
  return {
    ...stored,
    maxAgeSeconds: stored.maxAgeSeconds,
    rotateSeconds: stored.rotateSeconds,
    epochs: stored.epochs.map(({ epoch, secret, notBeforeMs, openUntilMs }) => ({
      epoch,
      notBeforeMs,
      openUntilMs,
      secret: Buffer.from(secret, "base64"),
    })),
    members: stored.members.map(({ device, signs, joinedEpoch }) => ({
      device,
      signs,
      joinedEpoch,
      keys: (devices.find(({ name }) => name === device)?.keys ?? []).map((key) =>
        Buffer.from(key, "base64"),
      ),
    })),
  };
}

function storedFrom(group: Group, files: Pick<StoredGroup, "macKeysFile" | "groupKeysFile">): StoredGroup {
  const { name, filters, mode, maxAgeSeconds, retained, rotateSeconds, graceSeconds } = group;
  return {
    name,
    mode,
    retained,
    graceSeconds,
    filters: [...filters],
    ...(maxAgeSeconds === undefined ? {} : { maxAgeSeconds }),
    ...(rotateSeconds === undefined ? {} : { rotateSeconds }),
    ...files,
    epochs: group.epochs.map(({ epoch, secret, notBeforeMs, openUntilMs }) => ({
      epoch,
      secret: Buffer.from(secret).toString("base64"),
      notBeforeMs,
      ...(openUntilMs === undefined ? {} : { openUntilMs }),
    })),
    members: group.members.map(({ device, signs, joinedEpoch }) => ({ device, signs, joinedEpoch })),
  };
}

function chance(nowMs: number): RotateOptions {
  return { nowMs, randomBytes };
}

/** @throws {UsageError} when there is no such group. */
export function requireGroup({ state }: KeyDirectory, name: string): Group {
  const stored = state.groups.find((group) => group.name === name);
  if (stored !== undefined) return groupFrom(stored, state.devices);
  const names = state.groups.map((group) => group.name);
  throw new UsageError(
    `there is no group "${name}"${names.length === 0 ? "" : `; there are ${names.join(", ")}`}: postern keys group list`,
  );
}

function put({ state }: KeyDirectory, group: Group): void {
  const index = state.groups.findIndex(({ name }) => name === group.name);
  const { macKeysFile, groupKeysFile } = state.groups[index] ?? {};
  const files = {
    ...(macKeysFile === undefined ? {} : { macKeysFile }),
    ...(groupKeysFile === undefined ? {} : { groupKeysFile }),
  };
  state.groups.splice(index === -1 ? state.groups.length : index, 1, storedFrom(group, files));
}

/** @throws {UsageError} when there is one of this name, or it cannot be one. */
export function createGroup(
  keys: KeyDirectory,
  group: Omit<Group, "epochs" | "members">,
  nowMs: number,
): Group {
  if (keys.state.groups.some(({ name }) => name === group.name)) {
    throw new UsageError(`there is a group "${group.name}" already`);
  }
  const problem = groupProblem(group);
  if (problem !== undefined) throw new UsageError(`cannot make the group "${group.name}": ${problem}`);
  const taken = keys.state.groups.find(({ filters }) =>
    filters.some((filter) => group.filters.includes(filter)),
  );
  if (taken !== undefined) {
    throw new UsageError(
      `the group "${taken.name}" has one of these topic filters already: a topic has the keys of one group`,
    );
  }
  const made = rotated({ ...group, epochs: [], members: [] }, chance(nowMs));
  put(keys, made);
  return made;
}

/** Adds devices or changes what they may do; new ones bring one new key for all. @throws {UsageError} when one is of another tenant. */
export function addMembers(
  keys: KeyDirectory,
  name: string,
  {
    readers,
    signers,
    leadMs,
    nowMs,
  }: {
    readonly readers: readonly DeviceKey[];
    readonly signers: readonly DeviceKey[];
    readonly leadMs: number;
    readonly nowMs: number;
  },
): Group {
  const { state } = keys;
  const before = requireGroup(keys, name);
  const found = [...readers, ...signers];
  for (const { device, tenant } of found) {
    if (tenant === state.tenant) continue;
    throw new UsageError(
      `"${device}" is a device of the tenant "${tenant}", the keys are of "${state.tenant}"`,
    );
  }
  for (const each of found) rememberKey(state, each);
  const members = found.map((each) => ({
    device: each.device,
    keys: [each.key],
    signs: signers.includes(each),
  }));
  // Nobody seals with the key of a group without members: there is none to go on with until the new one is in use.
  const group = withMembers(before, members, {
    ...chance(nowMs),
    leadMs: before.members.length === 0 ? 0 : leadMs,
  });
  put(keys, group);
  return group;
}

/** @throws {UsageError} when it is none. */
export function removeMember(
  keys: KeyDirectory,
  name: string,
  {
    device,
    graceMs,
    nowMs,
  }: { readonly device: string; readonly graceMs: number | undefined; readonly nowMs: number },
): Group {
  const group = requireGroup(keys, name);
  if (!group.members.some((member) => member.device === device)) {
    throw new UsageError(`"${device}" is no member of the group "${name}": postern keys group list ${name}`);
  }
  const next = withoutMember(group, device, {
    ...chance(nowMs),
    ...(graceMs === undefined ? {} : { graceMs }),
  });
  put(keys, next);
  return next;
}

export function rotateGroup(
  keys: KeyDirectory,
  name: string,
  { leadMs, nowMs }: { readonly leadMs: number; readonly nowMs: number },
): Group {
  const group = rotated(requireGroup(keys, name), { ...chance(nowMs), leadMs });
  put(keys, group);
  return group;
}

/** Gives a new key to each group that is due for one. @returns their names. */
export function rotateDue(
  keys: KeyDirectory,
  { leadMs, nowMs }: { readonly leadMs: number; readonly nowMs: number },
): string[] {
  const due = keys.state.groups.filter((group) =>
    isRotationDue(groupFrom(group, keys.state.devices), nowMs + leadMs),
  );
  for (const { name } of due) rotateGroup(keys, name, { leadMs, nowMs });
  return due.map(({ name }) => name);
}

type StoredDevice = KeyState["devices"][number];

function rememberKey(state: KeyState, { device, key, source }: DeviceKey): StoredDevice {
  const encoded = key.toString("base64");
  let known = state.devices.find(({ name }) => name === device);
  if (known === undefined) {
    known = { name: device, keys: [encoded] };
    state.devices.push(known);
  }
  succeed(known, encoded);
  known.source = source;
  known.sourceKey = encoded;
  return known;
}

/** From now on a device has this key, and for a while the one before. @returns whether it had another one. */
function succeed(device: StoredDevice, key: string): boolean {
  const isNew = device.keys[0] !== key;
  device.keys = [key, ...device.keys.filter((each) => each !== key)].slice(0, keysPerDevice);
  return isNew;
}

/**
 * Looks at the bundles and certificates that members came from. A file that did not change says nothing: the device may have told of a
 * newer key itself. @returns devices that have another key than before.
 */
export function refreshDevices(keys: KeyDirectory): string[] {
  const changed: string[] = [];
  for (const known of keys.state.devices) {
    if (known.source === undefined) continue;
    let found: DeviceKey;
    try {
      found = readDeviceKey(known.source);
    } catch {
      // It was moved away or is being written: the key that is known stays.
      continue;
    }
    const encoded = found.key.toString("base64");
    if (found.device !== known.name || known.sourceKey === encoded) continue;
    known.sourceKey = encoded;
    if (succeed(known, encoded)) changed.push(known.name);
    if (known.told === true && found.bundle !== undefined) trustIn(known.source, found.bundle, trustOf(keys));
  }
  return changed;
}

/** What devices are told: whose keys to take. */
export function trustOf({ state, publicKey }: KeyDirectory): Trust {
  return { tenant: state.tenant, authority: publicKey.toString("base64") };
}

/** Follows what devices published of new keys, by topic. @returns devices that have another key than before. */
export function followDevices({ state }: KeyDirectory, published: ReadonlyMap<string, Uint8Array>): string[] {
  const changed: string[] = [];
  for (const known of state.devices) {
    const bytes = published.get(successionTopic(known.name));
    const [newest] = known.keys;
    if (bytes === undefined || newest === undefined) continue;
    const address = { tenant: state.tenant, device: known.name };
    const usable = followSuccession(bytes, address, Buffer.from(newest, "base64")).filter(canReceiveKeys);
    for (const key of usable) succeed(known, key.toString("base64"));
    if (usable.length > 0) changed.push(known.name);
  }
  return changed;
}

function canReceiveKeys(spki: Buffer): boolean {
  try {
    recipientKey(createPublicKey({ key: spki, format: "der", type: "spki" }));
    return true;
  } catch {
    return false;
  }
}

/** A package, ready to be published as a retained message. */
export interface ReadyPackage {
  readonly device: string;
  readonly topic: string;
  readonly payload: Buffer;
}

/** The packages of all devices that are or were members; one that is in no group any longer is told so. Raises the serial number. */
export function packagesOf(keys: KeyDirectory, nowMs: number): ReadyPackage[] {
  const { state, authority } = keys;
  const groups = state.groups.map((group) => groupFrom(group, state.devices));
  const serial = keys.nextSerial(nowMs);
  return state.devices.flatMap(({ name: device, keys: [newest] }) => {
    if (newest === undefined) return [];
    const publicKey = createPublicKey({ key: Buffer.from(newest, "base64"), format: "der", type: "spki" });
    const content = { tenant: state.tenant, device, serial, groups: packagedFor(device, groups, nowMs) };
    const payload = sealKeyPackage(content, { recipient: recipientKey(publicKey), authority });
    return [{ device, topic: keyPackageTopic(device), payload }];
  });
}
