import { relative, resolve } from "node:path";

import { deviceNameRule, isDeviceName } from "@postern/pki/device-uri";
import type { Group, GroupMode } from "@postern/seal/groups/group";

import { stderrReporter } from "../client/reporter.ts";
import type { CommandContext } from "../context.ts";
import { ExitCode, UsageError } from "../errors.ts";
import { InterruptedError } from "../client/errors.ts";
import { deviceKeyOf, trustIn, type DeviceKey } from "./device-keys.ts";
import {
  addMembers,
  createGroup,
  groupFrom,
  removeMember,
  requireGroup,
  rotateDue,
  rotateGroup,
  trustOf,
} from "./groups.ts";
import { KeyDirectory } from "./key-directory.ts";
import {
  connect,
  heardOf,
  keepPublished,
  leadMsDefault,
  publishKeys,
  readyKeys,
} from "./publish-packages.ts";
import { keepServerKeys, saveGroups, type ServerUse } from "./server-keys.ts";
import { groupView, renderGroup, renderGroups } from "./render.ts";

/** The options of every command about keys. */
export interface KeysOptions {
  readonly keys: string;
  readonly json?: true;
}

export interface PublishOptions extends KeysOptions {
  readonly bundle?: string;
  readonly key?: string;
  readonly verbose?: true;
}

export interface ChangeOptions extends PublishOptions {
  readonly publish: boolean;
}

export interface CreateOptions extends KeysOptions {
  readonly topics: readonly string[];
  readonly mode: GroupMode;
  readonly maxAge?: number;
  readonly retained?: boolean;
  readonly rotate: number | "never";
  readonly grace: number;
  /** "default" for a new key authority, and that of the one that is there, unless given. */
  readonly tenant?: string;
}

export interface MembersOptions extends ChangeOptions {
  readonly data: string;
  readonly add?: readonly string[];
  readonly addSigner?: readonly string[];
  readonly remove?: readonly string[];
  readonly grace?: number;
  readonly trust: boolean;
}

export interface ServerKeysOptions extends KeysOptions {
  readonly file: string;
}

export interface RotateGroupOptions extends ChangeOptions {
  readonly due?: true;
}

export interface WatchOptions extends PublishOptions {
  readonly watch?: true;
  readonly every: number;
}

function pathOf({ keys }: KeysOptions, { cwd }: CommandContext): string {
  return resolve(cwd, keys);
}

function show(group: Group, { json }: KeysOptions, { stdout }: CommandContext): void {
  stdout.write(json === true ? `${JSON.stringify(groupView(group))}\n` : renderGroup(group));
}

/** Runs `postern keys group create`. */
export async function createGroupCommand(
  name: string,
  options: CreateOptions,
  context: CommandContext,
): Promise<void> {
  const path = pathOf(options, context);
  if (options.tenant !== undefined && !isDeviceName(options.tenant))
    throw new UsageError(`"${options.tenant}" is not a name of ${deviceNameRule}`);
  const { mode, topics: filters, maxAge: maxAgeSeconds, rotate, grace: graceSeconds } = options;
  // A command must not be carried out because somebody subscribes.
  const retained = options.retained ?? mode !== "signed+encrypted";
  const rotateSeconds = rotate === "never" ? undefined : rotate;
  const rule = { name, filters, mode, maxAgeSeconds, retained, rotateSeconds, graceSeconds };
  using keys = await KeyDirectory.openOrMake(path, options.tenant ?? "default", () =>
    context.stderr.write(
      `postern: made a key authority in ${path}; whoever has this directory reads everything: keep it from the broker, and a copy of it safe\n`,
    ),
  );
  const { tenant } = keys.state;
  if (options.tenant !== undefined && options.tenant !== tenant) {
    throw new UsageError(
      `the keys in ${path} are of the tenant "${tenant}": another tenant has a key authority of its own, in a directory that --keys names`,
    );
  }
  const made = createGroup(keys, rule, Date.now());
  saveGroups(keys, Date.now(), warner(context));
  show(made, options, context);
}

function warner({ stderr }: CommandContext): (sentence: string) => void {
  return (sentence) => stderr.write(`postern: ${sentence}\n`);
}

async function changed(
  path: string,
  context: CommandContext,
  change: (keys: KeyDirectory) => Group,
): Promise<Group> {
  using keys = await KeyDirectory.open(path);
  const group = change(keys);
  saveGroups(keys, Date.now(), warner(context));
  return group;
}

/** Runs `postern keys group members`. */
export async function membersCommand(
  name: string,
  options: MembersOptions,
  context: CommandContext,
): Promise<void> {
  const path = pathOf(options, context);
  const { add = [], addSigner = [], remove = [], data, grace } = options;
  const place = { data, cwd: context.cwd };
  const readers = add.map((given) => deviceKeyOf(given, place));
  const signers = addSigner.map((given) => deviceKeyOf(given, place));
  const found = [...readers, ...signers];
  if (grace !== undefined && remove.length === 0) throw new UsageError("--grace is for --remove");
  const group = await changed(path, context, (keys) => {
    const nowMs = Date.now();
    for (const device of remove) {
      removeMember(keys, name, { device, graceMs: grace === undefined ? undefined : grace * 1_000, nowMs });
    }
    if (found.length > 0) addMembers(keys, name, { readers, signers, leadMs: leadMsDefault, nowMs });
    if (options.trust) tellBundles(found, keys, context);
    return requireGroup(keys, name);
  });
  show(group, options, context);
  if (found.length + remove.length > 0) await publishChange(path, options, context);
}

function tellBundles(found: readonly DeviceKey[], keys: KeyDirectory, context: CommandContext): void {
  const trust = trustOf(keys);
  for (const { device, bundle, source } of found) {
    const known = keys.state.devices.find(({ name }) => name === device);
    if (known !== undefined) known.told = bundle !== undefined;
    if (bundle === undefined) {
      const field = JSON.stringify({ sealing: { tenant: trust.tenant, authorities: [trust.authority] } });
      context.stderr.write(
        `postern: put this into the bundle of "${device}", so that it takes these keys: ${field}\n`,
      );
    } else if (trustIn(source, bundle, trust)) {
      context.stderr.write(
        `postern: ${relative(context.cwd, source)} says now whose keys "${device}" takes\n`,
      );
    }
  }
}

/** Runs `postern keys group rotate`. */
export async function rotateCommand(
  name: string | undefined,
  options: RotateGroupOptions,
  context: CommandContext,
): Promise<void> {
  const path = pathOf(options, context);
  if ((name === undefined) !== (options.due === true)) {
    throw new UsageError("say which group is to have a new key, or --due for those whose time has come");
  }
  const nowMs = Date.now();
  const groups = await rotatedGroups(path, name, { nowMs, context });
  if (groups.length === 0) context.stderr.write("postern: no group is due for a new key\n");
  for (const group of groups) show(group, options, context);
  if (groups.length > 0) await publishChange(path, options, context);
}

async function rotatedGroups(
  path: string,
  name: string | undefined,
  { nowMs, context }: { readonly nowMs: number; readonly context: CommandContext },
): Promise<Group[]> {
  using keys = await KeyDirectory.open(path);
  const names = name === undefined ? rotateDue(keys, { leadMs: leadMsDefault, nowMs }) : [name];
  if (name !== undefined) rotateGroup(keys, name, { leadMs: leadMsDefault, nowMs });
  saveGroups(keys, nowMs, warner(context));
  return names.map((each) => requireGroup(keys, each));
}

/** Runs `postern keys group list`. */
export async function listCommand(
  name: string | undefined,
  options: KeysOptions,
  context: CommandContext,
): Promise<void> {
  using keys = await KeyDirectory.open(pathOf(options, context));
  if (name !== undefined) return show(requireGroup(keys, name), options, context);
  const groups = keys.state.groups.map((group) => groupFrom(group, keys.state.devices));
  context.stdout.write(
    options.json === true
      ? groups.map((group) => `${JSON.stringify(groupView(group))}\n`).join("")
      : renderGroups(groups),
  );
}

const kept: Readonly<Record<ServerUse, (group: string) => string>> = {
  macKeys: (group) => `the MAC keys of "${group}", and is written anew with each new key`,
  groupKeys: (group) => `the keys of "${group}", and is written anew when its members are given a new one`,
};

/** Runs `postern keys group mac-keys` and `group-keys`. */
export async function serverKeysCommand(
  name: string,
  use: ServerUse,
  { options, context }: { readonly options: ServerKeysOptions; readonly context: CommandContext },
): Promise<void> {
  const file = resolve(context.cwd, options.file);
  const group = await changed(pathOf(options, context), context, (keys) => {
    keepServerKeys(keys, name, { use, file, nowMs: Date.now() });
    return requireGroup(keys, name);
  });
  const [newest] = group.epochs;
  const line =
    options.json === true
      ? JSON.stringify({ group: name, file, epoch: newest?.epoch ?? null })
      : `${file} has ${kept[use](name)}`;
  context.stdout.write(`${line}\n`);
}

/** Publishes what a command has changed, where it is known with which bundle. A server out of reach undoes nothing. */
async function publishChange(path: string, options: ChangeOptions, context: CommandContext): Promise<void> {
  if (!options.publish) return;
  const publisher = await publisherOf(path, options, context);
  if (publisher === undefined) {
    context.stderr.write(
      `postern: devices do not have these keys yet: ${context.program} keys publish --bundle FILE, with the bundle of a device that may publish $keys/#\n`,
    );
    return;
  }
  try {
    await publishOnce(path, { ...publisher, verbose: options.verbose === true }, context);
  } catch (thrown) {
    context.stderr.write(
      `postern: the change is kept; publish it later with ${context.program} keys publish\n`,
    );
    throw thrown;
  }
}

async function publisherOf(
  path: string,
  { bundle, key }: PublishOptions,
  { cwd }: CommandContext,
): Promise<{ readonly bundle: string; readonly key: string | undefined } | undefined> {
  if (bundle !== undefined) return { bundle: resolve(cwd, bundle), key };
  using keys = await KeyDirectory.open(path);
  const { publisher } = keys.state;
  return publisher === undefined ? undefined : { bundle: publisher, key };
}

async function publishOnce(
  path: string,
  {
    bundle,
    key,
    verbose,
  }: { readonly bundle: string; readonly key: string | undefined; readonly verbose: boolean },
  context: CommandContext,
): Promise<number> {
  const reporter = stderrReporter(context, verbose);
  const connection = await connect({ bundle, key }, { context, reporter, stays: false });
  try {
    const published = await heardOf(connection, reporter);
    const ready = await readyKeys(path, { bundle, published, reporter, nowMs: Date.now() });
    await publishKeys(connection, ready, reporter);
    return ready.packages.length;
  } finally {
    await connection.end();
  }
}

async function rememberPublisher(path: string, bundle: string): Promise<void> {
  using keys = await KeyDirectory.open(path);
  keys.state.publisher = bundle;
  keys.save();
}

/** Runs `postern keys publish`. */
export async function publishCommand(options: WatchOptions, context: CommandContext): Promise<void> {
  const path = pathOf(options, context);
  const publisher = await publisherOf(path, options, context);
  if (publisher === undefined) {
    throw new UsageError(
      "say with --bundle FILE which device publishes: one that may publish and retain $keys/#",
    );
  }
  if (options.watch !== true) {
    const devices = await publishOnce(path, { ...publisher, verbose: options.verbose === true }, context);
    const line =
      options.json === true
        ? JSON.stringify({ devices })
        : `published the keys of ${devices} ${devices === 1 ? "device" : "devices"}`;
    context.stdout.write(`${line}\n`);
    return;
  }
  const reporter = stderrReporter(context, options.verbose === true);
  const signal = context.interruption();
  const connection = await connect(publisher, { context, reporter, stays: true });
  try {
    await rememberPublisher(path, publisher.bundle);
    await keepPublished(connection, path, { everyMs: options.every * 1_000, reporter, signal });
    context.exitCode = ExitCode.interrupted;
  } catch (thrown) {
    if (!(thrown instanceof InterruptedError)) throw thrown;
    context.exitCode = ExitCode.interrupted;
  } finally {
    await connection.end();
  }
}
