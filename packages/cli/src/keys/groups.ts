import { createPublicKey, randomBytes } from "node:crypto";

import { replacePrivateFile } from "@postern/device/private-file";
import { formatMacKeys } from "@postern/identity/payloads/group-keys-file";
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
import { packagedFor } from "@postern/seal/groups/package-content";
import { GroupKey } from "@postern/seal/keys/group-key";
import { recipientKey } from "@postern/seal/keys/recipient";

import { UsageError } from "../errors.ts";
import { readDeviceKey, type DeviceKey } from "./device-keys.ts";
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

function storedFrom(group: Group, macKeysFile: string | undefined): StoredGroup {
  const { name, filters, mode, maxAgeSeconds, retained, rotateSeconds, graceSeconds } = group;
  return {
    name,
    mode,
    retained,
    graceSeconds,
    filters: [...filters],
    ...(maxAgeSeconds === undefined ? {} : { maxAgeSeconds }),
    ...(rotateSeconds === undefined ? {} : { rotateSeconds }),
    ...(macKeysFile === undefined ? {} : { macKeysFile }),
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
  const file = state.groups.find(({ name }) => name === group.name)?.macKeysFile;
  state.groups = [...state.groups.filter(({ name }) => name !== group.name), storedFrom(group, file)];
}

/** Writes the directory, and the files of MAC keys that go with it. */
export function saveGroups(keys: KeyDirectory, nowMs: number): void {
  keys.save();
  for (const stored of keys.state.groups) {
    if (stored.macKeysFile === undefined) continue;
    const open = groupFrom(stored, keys.state.devices).epochs.filter(
      ({ openUntilMs }) => (openUntilMs ?? Infinity) > nowMs,
    );
    const macs = open.map(({ secret, epoch }) => GroupKey.of(secret, epoch));
    replacePrivateFile(stored.macKeysFile, formatMacKeys(stored.name, macs));
  }
}

/** Has a file written, now and with each new key, with which a broker checks the MACs of a group. @throws {UsageError} when it has none. */
export function keepMacKeys(keys: KeyDirectory, name: string, file: string): void {
  const { mode } = requireGroup(keys, name);
  if (mode !== "mac") {
    throw new UsageError(
      `the group "${name}" has the mode "${mode}": the server checks MACs, of groups with --mode mac, and needs no key for anything else`,
    );
  }
  for (const stored of keys.state.groups) if (stored.name === name) stored.macKeysFile = file;
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
  const group = withMembers(before, members, { ...chance(nowMs), leadMs });
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

function rememberKey(state: KeyState, { device, key, source }: DeviceKey): boolean {
  const encoded = key.toString("base64");
  const known = state.devices.find(({ name }) => name === device);
  if (known === undefined) {
    state.devices.push({ name: device, keys: [encoded], source });
    return true;
  }
  const isNew = known.keys[0] !== encoded;
  known.keys = [encoded, ...known.keys.filter((each) => each !== encoded)].slice(0, keysPerDevice);
  known.source = source;
  return isNew;
}

/** Looks at the bundles and certificates that members came from. @returns devices that have another key than before. */
export function refreshDevices({ state }: KeyDirectory): string[] {
  const changed: string[] = [];
  for (const { name, source } of state.devices) {
    if (source === undefined) continue;
    let found: DeviceKey;
    try {
      found = readDeviceKey(source);
    } catch {
      // It was moved away or is being written: the key that is known stays.
      continue;
    }
    if (found.device === name && rememberKey(state, found)) changed.push(name);
  }
  return changed;
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
