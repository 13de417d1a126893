import type { Bundle } from "@postern/core/bundle";
import type { Clock } from "@postern/core/clock";
import { nearest } from "@postern/core/nearest";

import type { Authority } from "../authority.ts";
import { credentialDays, newDevice, type Device } from "../device.ts";
import {
  DataDirectoryError,
  DeviceExistsError,
  DeviceRemovedError,
  DeviceRequestError,
  DeviceUnknownError,
} from "../errors.ts";
import type { DeviceRegistry } from "../registry.ts";
import { issueCredentials, type IssuedCredentials, type IssueToken } from "./issue.ts";
import type {
  AddRequest,
  CredentialKind,
  KeyType,
  ListRequest,
  RemoveRequest,
  RevokeRequest,
  RotateRequest,
  SetRequest,
} from "./requests.ts";
import { allRevoked, endingAt, revokedProof, withoutSecrets } from "./transitions.ts";
import { credentialKindsOf, viewOf, type DeviceView } from "./view.ts";

const dayMs = 86_400_000;

export interface DeviceManagerOptions {
  readonly registry: DeviceRegistry;
  /** As it is now: it may be exchanged while the server runs. */
  readonly authority: () => Authority;
  /** Where devices find the server, the preferred address first; those with a pre-shared key go to listeners of their own. */
  readonly servers: (proof: "psk" | "other") => Bundle["servers"];
  /** PEM: whom devices trust for the server. */
  readonly serverCa: () => string;
  /** Where devices renew their certificates; absent when they cannot. */
  readonly est?: (() => Bundle["est"]) | undefined;
  /** How a device knocks, where a gate hides the server. */
  readonly knock?: ((device: Device) => Bundle["knock"]) | undefined;
  /** The server's public key, as bundles have it. */
  readonly brokerKey?: string | undefined;
  /** Makes a token for a device; it counts once the registry has its id. */
  readonly issueToken: IssueToken;
  readonly clock: Clock;
  /** Whether this process lets devices in, so that what holds in its memory counts. */
  readonly serves: boolean;
}

/** A device and, where it was given something, its bundle: a secret. */
export interface ManagedDevice {
  readonly device: DeviceView;
  readonly bundle?: Bundle | undefined;
  /** False when all was as asked before. */
  readonly changed: boolean;
}

/** What a person does with the devices of one installation. Whoever must act on a change listens to the registry. */
export class DeviceManager {
  readonly #options: DeviceManagerOptions;

  constructor(options: DeviceManagerOptions) {
    this.#options = options;
  }

  /** @throws {DeviceExistsError | DeviceRemovedError | DeviceRequestError} */
  async add(request: AddRequest): Promise<ManagedDevice> {
    const { name, tenant, roles, groups, reuseName } = request;
    this.#checkFree(name, reuseName);
    checkCredentialOptions(request.auth, request);
    const issued = await this.#issue({ ...request, tenant, kinds: request.auth });
    // Another request for this name may have been faster.
    const former = this.#checkFree(name, reuseName);
    const fresh = newDevice({ name, tenant, roles: unique(roles), groups: unique(groups) }, this.#nowMs);
    // What was revoked stays so, and in the revocation list.
    const { certificates = [], tokens = [], knockKeyVersion = 0 } = former ?? {};
    const again = former === undefined ? {} : { trustedAgain: this.#now };
    this.#options.registry.put(
      issued.apply({ ...fresh, ...again, certificates, tokens, knockKeyVersion: knockKeyVersion + 1 }),
    );
    return this.#managed(name, request.auth, issued);
  }

  /** The devices asked for, by name. */
  list({ pattern, roles, groups, auth, states, endsWithinDays }: ListRequest): DeviceView[] {
    const untilMs = endsWithinDays === undefined ? undefined : this.#nowMs + endsWithinDays * dayMs;
    const found: DeviceView[] = [];
    for (const device of this.#options.registry.all()) {
      if (pattern !== undefined && !matches(pattern, device.name)) continue;
      if (!roles.every((role) => device.roles.includes(role))) continue;
      if (!groups.every((group) => device.groups.includes(group))) continue;
      const view = viewOf(device, this.#nowMs);
      if (states.length === 0 ? view.state === "removed" : !states.includes(view.state)) continue;
      if (!auth.every((kind) => view.auth.includes(kind))) continue;
      if (untilMs !== undefined && (view.ends === undefined || Date.parse(view.ends) > untilMs)) continue;
      found.push(view);
    }
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws {DeviceUnknownError} */
  show(name: string): DeviceView {
    return viewOf(this.#find(name), this.#nowMs);
  }

  /** Changes roles and groups. @throws {DeviceUnknownError | DeviceRemovedError} */
  set(request: SetRequest): ManagedDevice {
    const device = this.#present(request.name);
    const roles = changedList(request.roles ?? device.roles, request.addRoles, request.removeRoles);
    const groups = changedList(request.groups ?? device.groups, request.addGroups, request.removeGroups);
    return this.#replace(device, { ...device, roles, groups });
  }

  /**
   * Gives a device new credentials. Old certificates and tokens stay good for the overlap; there is one password and one
   * pre-shared key at a time, which end at once. The knock key is a new one when nothing of the old bundle stays good, or nothing
   * is to: it opens no door then.
   * @throws {DeviceUnknownError | DeviceRemovedError | DeviceRequestError}
   */
  async rotate(request: RotateRequest): Promise<ManagedDevice> {
    const { name, overlapSeconds, reinstate } = request;
    const before = this.#rotatable(name, reinstate);
    const kinds = request.auth ?? credentialKindsOf(before, this.#nowMs, before.revoked !== undefined);
    if (kinds.length === 0)
      throw new DeviceRequestError(
        `"${name}" has no credential that is still good: say with --auth what to give it`,
      );
    checkCredentialOptions(kinds, request);
    const issued = await this.#issue({ ...request, tenant: before.tenant, kinds });
    const device = this.#rotatable(name, reinstate);
    const { revoked, ...rest } = device;
    const restart = revoked !== undefined;
    const nowMs = this.#nowMs;
    const old = restart
      ? // What it had when it was revoked is not good again; the passwords and keys go unless they are new.
        withoutSecrets(allRevoked({ ...rest, trustedAgain: this.#now }, revoked))
      : endingAt(rest, kinds, { overlapSeconds, nowMs });
    const isSuperseded = overlapSeconds === 0 || !keepsSome(old, kinds, nowMs);
    const knockKeyVersion = device.knockKeyVersion + (isSuperseded ? 1 : 0);
    this.#options.registry.put(issued.apply({ ...old, knockKeyVersion }));
    return this.#managed(name, kinds, issued);
  }

  /**
   * Revokes a device with all its credentials, or one certificate or token of it. What is revoked stays so, whatever the
   * reason given later. @throws {DeviceUnknownError | DeviceRemovedError | DeviceRequestError}
   */
  revoke({ name, reason, certificate, token }: RevokeRequest): ManagedDevice {
    const device = this.#present(name);
    const revoked = { at: this.#now, reason };
    if (certificate === undefined && token === undefined)
      return this.#distrust(device, { ...allRevoked(device, revoked), revoked: device.revoked ?? revoked });
    const serialNumber = certificate === undefined ? undefined : serialNumberOf(device, certificate);
    if (token !== undefined && !device.tokens.some(({ jti }) => jti === token))
      throw new DeviceRequestError(`"${name}" has no token "${token}": see \`postern device show ${name}\``);
    return this.#distrust(device, {
      ...device,
      certificates: device.certificates.map((entry) =>
        entry.serialNumber === serialNumber ? revokedProof(entry, revoked) : entry,
      ),
      tokens: device.tokens.map((entry) => (entry.jti === token ? revokedProof(entry, revoked) : entry)),
    });
  }

  /** Takes a device out of use for good. Its name stays taken. @throws {DeviceUnknownError} */
  remove({ name }: RemoveRequest): ManagedDevice {
    const device = this.#find(name);
    const revoked = { at: this.#now, reason: "cessationOfOperation" } as const;
    return this.#distrust(device, {
      ...withoutSecrets(allRevoked(device, revoked)),
      removed: device.removed ?? this.#now,
    });
  }

  get #nowMs(): number {
    return this.#options.clock.wallMs();
  }

  get #now(): string {
    return new Date(this.#nowMs).toISOString();
  }

  #find(name: string): Device {
    const { registry } = this.#options;
    const device = registry.find(name);
    if (device !== undefined) return device;
    const near = nearest(name, nearNames(name, registry));
    throw new DeviceUnknownError(
      `there is no device "${name}"${near === undefined ? ": see `postern device list`" : `: did you mean "${near}"?`}`,
    );
  }

  #present(name: string): Device {
    const device = this.#find(name);
    if (device.removed === undefined) return device;
    throw new DeviceRemovedError(`the device "${name}" was removed at ${device.removed}`);
  }

  #rotatable(name: string, reinstate: boolean): Device {
    const device = this.#present(name);
    if (device.revoked === undefined || reinstate) return device;
    throw new DeviceRequestError(
      `"${name}" was revoked at ${device.revoked.at}: add --reinstate to let it in again with new credentials`,
    );
  }

  /** @returns the removed device of this name. */
  #checkFree(name: string, reuseName: boolean): Device | undefined {
    const device = this.#options.registry.find(name);
    if (device === undefined) return undefined;
    if (device.removed === undefined)
      throw new DeviceExistsError(
        `there is a device "${name}" already: give it new credentials with \`postern device rotate ${name}\`, or choose another name`,
      );
    if (reuseName) return device;
    throw new DeviceRemovedError(
      `a device "${name}" was there and was removed at ${device.removed}: choose another name, or add --reuse-name`,
    );
  }

  #issue(request: {
    readonly name: string;
    readonly tenant: string;
    readonly kinds: readonly CredentialKind[];
    readonly days?: number | undefined;
    readonly keyType?: KeyType | undefined;
    readonly csr?: string | undefined;
    readonly password?: string | undefined;
  }): Promise<IssuedCredentials> {
    const { registry, authority, issueToken } = this.#options;
    const { name, tenant, kinds, days = credentialDays, keyType = "P-256", csr, password } = request;
    this.#serversFor(kinds);
    const nowMs = this.#nowMs;
    return issueCredentials({
      name,
      tenant,
      kinds,
      days,
      keyType,
      csr,
      password,
      registry,
      nowMs,
      authority: authority(),
      issueToken,
    });
  }

  /** @throws {DeviceRequestError} when there are none. */
  #serversFor(kinds: readonly CredentialKind[]): Bundle["servers"] {
    const psk = kinds.includes("psk");
    if (psk && kinds.length > 1)
      throw new DeviceRequestError(
        "a pre-shared key needs a bundle of its own, as its listener does: use --auth psk alone",
      );
    const servers = this.#options.servers(psk ? "psk" : "other");
    if (servers.length > 0) return servers;
    const wanted = psk ? "a listener mqtts:// with psk: true" : "a listener mqtts:// or wss:// without psk";
    throw new DeviceRequestError(
      `there is no address for such a device: the server needs ${wanted} (with a fixed port, unless it is running)`,
    );
  }

  #replace(before: Device, after: Device): ManagedDevice {
    const changed = JSON.stringify(before) !== JSON.stringify(after);
    if (changed) this.#options.registry.put(after);
    return { device: viewOf(after, this.#nowMs), changed };
  }

  /** As `#replace`; a server acts on it whether it can be written down or not. @throws {DataDirectoryError} when it cannot. */
  #distrust(before: Device, after: Device): ManagedDevice {
    const { registry, serves } = this.#options;
    const { name } = before;
    if (!serves) return this.#replace(before, after);
    const changed = JSON.stringify(before) !== JSON.stringify(after) || !registry.isWritten(name);
    try {
      if (changed) registry.distrust(after);
    } catch (thrown) {
      if (!(thrown instanceof DataDirectoryError)) throw thrown;
      throw new DataDirectoryError(
        `what was taken from "${name}" is good for nothing as long as this server runs, but that is not on disk: ${thrown.message}, and do not stop the server before`,
        { cause: thrown },
      );
    }
    return { device: viewOf(after, this.#nowMs), changed };
  }

  #managed(name: string, kinds: readonly CredentialKind[], issued: IssuedCredentials): ManagedDevice {
    const est = kinds.includes("certificate") ? this.#options.est?.() : undefined;
    const device = this.#options.registry.find(name);
    const knock = device && this.#options.knock?.(device);
    const { brokerKey } = this.#options;
    const bundle: Bundle = {
      postern: 1,
      device: name,
      servers: this.#serversFor(kinds),
      ...(est === undefined ? {} : { est }),
      ca: this.#options.serverCa(),
      ...issued.bundle,
      ...(knock === undefined ? {} : { knock }),
      ...(brokerKey === undefined ? {} : { brokerKey }),
    };
    return { device: this.show(name), bundle, changed: true };
  }
}

/** Whether a credential stays good beside new ones of these kinds. */
function keepsSome(device: Device, kinds: readonly CredentialKind[], nowMs: number): boolean {
  const isReplaced = (kind: CredentialKind): boolean =>
    (kind === "password" || kind === "psk") && kinds.includes(kind);
  return credentialKindsOf(device, nowMs).some((kind) => !isReplaced(kind));
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)];
}

function changedList(
  names: readonly string[],
  added: readonly string[],
  removed: readonly string[],
): readonly string[] {
  const changed = unique([...names, ...added]).filter((name) => !removed.includes(name));
  return changed;
}

function checkCredentialOptions(
  kinds: readonly CredentialKind[],
  { csr, password }: { readonly csr?: string | undefined; readonly password?: string | undefined },
): void {
  if (csr !== undefined && !kinds.includes("certificate"))
    throw new DeviceRequestError("a certification request is for a certificate: add --auth certificate");
  if (password !== undefined && !kinds.includes("password"))
    throw new DeviceRequestError("a password file is for a password: add --auth password");
}

function serialNumberOf({ name, certificates }: Device, wanted: string): string {
  const start = wanted.toUpperCase();
  const found = certificates.filter(
    ({ serialNumber, fingerprint }) => serialNumber.startsWith(start) || fingerprint.startsWith(start),
  );
  const [first, second] = found;
  if (first !== undefined && second === undefined) return first.serialNumber;
  throw new DeviceRequestError(
    `${first === undefined ? "no" : "more than one"} certificate of "${name}" has a serial number or fingerprint that begins with ${start}: see \`postern device show ${name}\``,
  );
}

/** Whether a name is what a pattern means, in which `*` stands for anything. Never looks back further than the last `*`. */
function matches(pattern: string, name: string): boolean {
  let at = 0;
  let star = -1;
  let starAt = 0;
  for (let index = 0; index < name.length;) {
    if (pattern[at] === "*") {
      star = at;
      starAt = index;
      at += 1;
    } else if (pattern[at] === name[index]) {
      at += 1;
      index += 1;
    } else if (star >= 0) {
      at = star + 1;
      starAt += 1;
      index = starAt;
    } else {
      return false;
    }
  }
  return /^\**$/.test(pattern.slice(at));
}

/** So many names are compared letter by letter with one that is unknown. */
const comparedMax = 2_000;

function nearNames(name: string, registry: DeviceRegistry): string[] {
  const start = name.slice(0, 2).toLowerCase();
  const near: string[] = [];
  const others: string[] = [];
  for (const device of registry.all()) {
    if (device.removed !== undefined) continue;
    const list = device.name.toLowerCase().startsWith(start) ? near : others;
    if (list.length < comparedMax) list.push(device.name);
  }
  return [...near, ...others].slice(0, comparedMax);
}
