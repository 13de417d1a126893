import { join, resolve } from "node:path";

import type {
  AddRequest,
  CredentialKind,
  KeyType,
  ListRequest,
  RevokeRequest,
} from "@postern/identity/devices/requests";
import { formatBundle } from "@postern/core/bundle";
import { PosternError } from "@postern/core/errors";
import { deviceNameRule, isDeviceName } from "@postern/pki/device-uri";

import { deviceOperations, type DeviceOperation, type ManagedAnswer } from "../admin/device-protocol.ts";
import { readInput, readPassword } from "../client/credentials.ts";
import type { CommandContext } from "../context.ts";
import { CliError, ExitCode, UsageError } from "../errors.ts";
import { ReservedFile } from "./reserved-file.ts";
import { placeOf, perform, type Place } from "./perform.ts";
import { renderDevice, renderDevices } from "./render.ts";
import { warnOfUnknownRoles } from "./unknown-roles.ts";

/** The options of every command about devices. */
export interface PlaceOptions {
  readonly data?: string;
  readonly config?: string;
  readonly json?: true;
}

export interface CredentialOptions extends PlaceOptions {
  readonly auth?: readonly CredentialKind[];
  readonly days?: number;
  readonly keyType?: KeyType;
  readonly csr?: string;
  readonly passwordFile?: string;
  readonly bundle?: string;
  readonly force?: true;
}

export interface AddOptions extends CredentialOptions {
  readonly tenant: string;
  readonly role?: readonly string[];
  readonly roles: boolean;
  readonly group?: readonly string[];
  readonly reuseName?: true;
}

export interface ListOptions extends PlaceOptions {
  readonly role?: readonly string[];
  readonly group?: readonly string[];
  readonly auth?: readonly CredentialKind[];
  readonly state?: ListRequest["states"];
  readonly endsWithin?: number;
}

export interface SetOptions extends PlaceOptions {
  readonly role?: readonly string[];
  readonly group?: readonly string[];
  readonly addRole?: readonly string[];
  readonly removeRole?: readonly string[];
  readonly addGroup?: readonly string[];
  readonly removeGroup?: readonly string[];
  readonly roles: boolean;
  readonly groups: boolean;
}

export interface RotateOptions extends CredentialOptions {
  readonly overlap: number;
  readonly now?: true;
  readonly reinstate?: true;
}

export interface RevokeOptions extends PlaceOptions {
  readonly reason: RevokeRequest["reason"];
  readonly certificate?: string;
  readonly token?: string;
}

/** The device was changed, but what it is to be given could not be written. */
export class BundleLostError extends CliError {
  readonly code = "BUNDLE_LOST";
  readonly exitCode = ExitCode.failed;
}

/** The role of a device unless somebody says otherwise: its own topics. */
const defaultRole = "device";

/** One command at work: where, and how it answers. */
class DeviceCommand {
  readonly #context: CommandContext;
  readonly #place: Place;
  readonly #json: boolean;

  constructor(options: PlaceOptions, context: CommandContext) {
    this.#context = context;
    this.#place = placeOf(options, context.cwd);
    this.#json = options.json === true;
  }

  perform<Request extends object, Answer>(
    operation: DeviceOperation<Request, Answer>,
    request: Request,
  ): Promise<Answer> {
    return perform(this.#place, operation, request);
  }

  /** The answer for programs, or its text for people. */
  answer(value: object, text: string): void {
    this.#context.stdout.write(this.#json ? `${JSON.stringify(value)}\n` : text);
  }

  /** What the files that the options name say. */
  read({ csr, passwordFile }: CredentialOptions): Pick<AddRequest, "csr" | "password"> {
    const { cwd, stderr } = this.#context;
    const warn = (text: string): void => void stderr.write(`postern: warning: ${text}\n`);
    return {
      csr:
        csr === undefined
          ? undefined
          : readInput(csr, "the certification request", { cwd }).toString("latin1"),
      password:
        passwordFile === undefined ? undefined : readPassword(passwordFile, { cwd, warn }).toString("utf8"),
    };
  }

  /** Has people look at roles that nobody wrote. */
  warnOfUnknownRoles(roles: readonly string[]): void {
    warnOfUnknownRoles(roles, this.#place.directory, this.#context);
  }

  /** Says that a device is there before anything is said of its bundle. @throws {UsageError} */
  async checkNew(name: string): Promise<void> {
    const { list } = deviceOperations;
    const asked = { pattern: name, roles: [], groups: [], auth: [], states: [] };
    const { devices } = await this.perform(list, asked);
    if (devices.every((device) => device.name !== name)) return;
    throw new UsageError(
      `there is a device "${name}" already: see \`${this.#context.program} device show ${name}\`, or choose another name`,
    );
  }

  /** Does what gives a device something, and writes the bundle. */
  async give(
    name: string,
    options: CredentialOptions & { readonly replace: boolean },
    work: () => Promise<ManagedAnswer>,
    done: string,
  ): Promise<void> {
    const { cwd, program } = this.#context;
    // It is part of a path before anybody else looks at it.
    if (!isDeviceName(name))
      throw new UsageError(`${JSON.stringify(name)} is not a name of ${deviceNameRule}`);
    const standard = join(this.#place.directory.bundles, `${name}.json`);
    const path = options.bundle === undefined ? standard : resolve(cwd, options.bundle);
    using file = new ReservedFile({ path, what: "bundle", option: "--bundle", replace: options.replace });
    const { device, bundle } = await work();
    if (bundle === undefined) throw new TypeError("a device was given nothing");
    try {
      file.write(formatBundle(bundle));
    } catch (thrown) {
      if (!(thrown instanceof PosternError)) throw thrown;
      throw new BundleLostError(
        `the device "${name}" was ${done}, but ${thrown.message}: give it other credentials with \`${program} device rotate ${name} --now --bundle FILE\``,
        { cause: thrown },
      );
    }
    const secret =
      bundle.certificate !== undefined && bundle.key === undefined && bundle.password === undefined
        ? "its key stays with the device"
        : "a secret: move it to the device, and leave no copy";
    this.answer(
      { device, bundle: path },
      `${renderDevice(device, Date.now())}${"bundle".padEnd(13)}${path} (${secret})\n`,
    );
  }
}

function contradiction(name: string, none: string): UsageError {
  return new UsageError(`--${name} and --${none} contradict each other: leave one of them out`);
}

/** @throws {UsageError} for some of a list and none of it at once. */
function checkLists({ role, roles = true, group, groups = true }: Partial<SetOptions>): void {
  if (role !== undefined && !roles) throw contradiction("role", "no-roles");
  if (group !== undefined && !groups) throw contradiction("group", "no-groups");
}

export async function addDevice(name: string, options: AddOptions, context: CommandContext): Promise<void> {
  checkLists(options);
  const command = new DeviceCommand(options, context);
  const {
    tenant,
    role,
    roles,
    group = [],
    auth = ["certificate"],
    days,
    keyType,
    reuseName,
    force,
  } = options;
  const request: AddRequest = {
    name,
    tenant,
    auth: [...auth],
    roles: roles ? [...(role ?? [defaultRole])] : [],
    groups: [...group],
    reuseName: reuseName === true,
    days,
    keyType,
    ...command.read(options),
  };
  await command.checkNew(name);
  const work = () => command.perform(deviceOperations.add, request);
  await command.give(name, { ...options, replace: force === true }, work, "added");
  command.warnOfUnknownRoles(request.roles);
}

export async function listDevices(
  pattern: string | undefined,
  options: ListOptions,
  context: CommandContext,
): Promise<void> {
  const command = new DeviceCommand(options, context);
  const { role = [], group = [], auth = [], state = [], endsWithin } = options;
  const { devices } = await command.perform(deviceOperations.list, {
    pattern,
    roles: [...role],
    groups: [...group],
    auth: [...auth],
    states: [...state],
    endsWithinDays: endsWithin,
  });
  command.answer(devices, renderDevices(devices, Date.now()));
}

export async function showDevice(
  name: string,
  options: PlaceOptions,
  context: CommandContext,
): Promise<void> {
  const command = new DeviceCommand(options, context);
  const device = await command.perform(deviceOperations.show, { name });
  command.answer(device, renderDevice(device, Date.now()));
}

export async function setDevice(name: string, options: SetOptions, context: CommandContext): Promise<void> {
  checkLists(options);
  const command = new DeviceCommand(options, context);
  const { role, group, addRole = [], removeRole = [], addGroup = [], removeGroup = [] } = options;
  const { device, changed } = await command.perform(deviceOperations.set, {
    name,
    roles: options.roles ? (role === undefined ? undefined : [...role]) : [],
    groups: options.groups ? (group === undefined ? undefined : [...group]) : [],
    addRoles: [...addRole],
    removeRoles: [...removeRole],
    addGroups: [...addGroup],
    removeGroups: [...removeGroup],
  });
  command.answer({ device, changed }, renderDevice(device, Date.now()));
  command.warnOfUnknownRoles(device.roles);
}

export async function rotateDevice(
  name: string,
  options: RotateOptions,
  context: CommandContext,
): Promise<void> {
  const command = new DeviceCommand(options, context);
  const { auth, days, keyType, overlap, now, reinstate, bundle, force } = options;
  const work = () =>
    command.perform(deviceOperations.rotate, {
      name,
      auth: auth === undefined ? undefined : [...auth],
      days,
      keyType,
      overlapSeconds: now === true ? 0 : overlap,
      reinstate: reinstate === true,
      ...command.read(options),
    });
  // The bundle in the data directory is the device's own: the new one takes its place.
  const replace = bundle === undefined || force === true;
  await command.give(name, { ...options, replace }, work, "given other credentials");
}

export async function revokeDevice(
  name: string,
  options: RevokeOptions,
  context: CommandContext,
): Promise<void> {
  const command = new DeviceCommand(options, context);
  const { reason, certificate, token } = options;
  const { device, changed } = await command.perform(deviceOperations.revoke, {
    name,
    reason,
    certificate,
    token,
  });
  const what =
    certificate !== undefined
      ? `the certificate of ${name}`
      : token !== undefined
        ? `the token of ${name}`
        : name;
  command.answer({ device, changed }, `${what} ${changed ? "is revoked" : "was revoked before"}\n`);
}

export async function removeDevice(
  name: string,
  options: PlaceOptions,
  context: CommandContext,
): Promise<void> {
  const command = new DeviceCommand(options, context);
  const { device, changed } = await command.perform(deviceOperations.remove, { name });
  command.answer({ device, changed }, `${name} ${changed ? "is removed" : "was removed before"}\n`);
}
