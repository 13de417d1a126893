import { statSync, watch } from "node:fs";
import { basename, dirname, join } from "node:path";

import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";
import { hasAuthority } from "@postern/identity/authority";
import type { DataDirectory } from "@postern/identity/data-directory";
import { replacePrivateFile } from "@postern/identity/files";
import { PolicyAuthorizer, type VouchedIdentity } from "@postern/identity/permissions/authorizer";
import { defaultPermissions } from "@postern/identity/permissions/default-file";
import { changesPermissions, registryAttributes } from "@postern/identity/permissions/device-attributes";
import { readPolicyFile, type ReadPolicy } from "@postern/identity/permissions/policy-file";
import { RememberedIdentities } from "@postern/identity/permissions/remembered-identities";
import type { Policy } from "@postern/identity/permissions/policy";
import { PayloadChecker } from "@postern/identity/payloads/payload-checker";
import { Resealer } from "@postern/identity/payloads/resealer";
import { SignerKeys } from "@postern/identity/payloads/signer-keys";
import type { DeviceRegistry } from "@postern/identity/registry";
import type { DecryptionKey } from "@postern/seal/keys/recipient";

import type { ExplainRequest, ExplainResult, Status } from "../admin/protocol.ts";
import { explainRequested } from "../permissions/explain-request.ts";

/** A file that is being written is left alone until nothing has changed for so long. */
const settleMs = 100;
/** Editors that replace a file let it be missing or empty for a moment; nobody loses anything before this. */
const goneMs = 1_000;

/** How often it is looked whether files with keys have changed. */
const keysLookMs = 500;
/** Of whoever is not in the registry. */
const defaultTenant = "default";

/** When these files were written last. */
function keyFilesSeen(paths: readonly string[]): string {
  return paths.map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0).join();
}

/** What permissions act on. */
export interface Reauthorized {
  reauthorize(identity?: string): void;
}

interface Audit {
  recordServer(kind: "permissions-loaded" | "permissions-broken", detail: string): void;
}

export interface LivePermissionsOptions {
  readonly directory: DataDirectory;
  readonly clock: Clock;
  readonly log: Log;
  /** The server's own key, for topics whose payloads are encrypted to it. */
  readonly decryption: DecryptionKey;
}

/** Reads the file, or writes it first where there never was an installation. @throws as `readPolicyFile`. */
export function readPermissions({ path, permissions, pki }: DataDirectory): ReadPolicy {
  const read = readPolicyFile(permissions, permissions);
  if (read.state !== "missing" || hasAuthority(pki)) return read;
  replacePrivateFile(permissions, defaultPermissions);
  return readPolicyFile(permissions, `${path}/permissions.yaml`);
}

/**
 * The permissions file of a running server, and the roles of its devices: whatever changes is applied at once. A file that cannot
 * be used leaves the last good one in force; one that is missing or empty permits nothing.
 */
export class LivePermissions implements Disposable {
  readonly authorizer: PolicyAuthorizer;
  readonly payloads: PayloadChecker;
  readonly #options: LivePermissionsOptions;
  readonly #registry: DeviceRegistry;
  readonly #remembered: RememberedIdentities;
  #read: ReadPolicy;
  #loadedAtMs: number;
  #problem: string | undefined = undefined;
  #target: Reauthorized | undefined = undefined;
  #audit: Audit | undefined = undefined;
  #timer: NodeJS.Timeout | undefined = undefined;
  #keysSeen = "";
  readonly #stack = new DisposableStack();

  constructor(read: ReadPolicy, registry: DeviceRegistry, options: LivePermissionsOptions) {
    this.#read = read;
    this.#registry = registry;
    this.#options = options;
    this.#loadedAtMs = options.clock.wallMs();
    this.#remembered = this.#stack.use(
      new RememberedIdentities(join(options.directory.pki, "identities.jsonl")),
    );
    this.authorizer = new PolicyAuthorizer(registryAttributes(registry, this.#remembered), (identity) =>
      this.#remember(identity),
    );
    const { clock } = options;
    const attributes = registryAttributes(registry, this.#remembered);
    this.payloads = new PayloadChecker({
      signers: new SignerKeys(registry, clock),
      decryption: options.decryption,
      resealer: new Resealer(clock.wallMs()),
      tenantOf: (name) => attributes.attributesOf(name)?.tenant ?? defaultTenant,
      isKnown: (name) => attributes.attributesOf(name) !== undefined,
    });
    this.#apply(read.policy);
  }

  /** What somebody should know who starts a server with anonymous listeners or not. */
  warnings(anonymousListeners: boolean): string[] {
    return [...this.#stateWarnings(anonymousListeners), ...this.#unknownRoles()];
  }

  #stateWarnings(anonymousListeners: boolean): string[] {
    const { permissions } = this.#options.directory;
    if (this.#read.state !== "good") {
      return [
        `${permissions} is ${this.#read.state}: NOBODY MAY PUBLISH OR SUBSCRIBE ANYTHING; \`postern permissions default\` prints one to begin with`,
      ];
    }
    if (anonymousListeners && !this.#read.policy.roles.has("anonymous")) {
      return [
        `a listener takes anonymous clients, and ${permissions} has no role "anonymous": they may do nothing until you write it`,
      ];
    }
    return [];
  }

  /** From now on changes are applied to `target`. */
  follow(target: Reauthorized, audit: Audit): void {
    this.#target = target;
    this.#audit = audit;
    this.#record();
    this.#stack.use(
      this.#registry.onChange((changes) => {
        for (const { before, after } of changes) {
          if (!changesPermissions(before, after)) continue;
          this.authorizer.forget(after.name);
          target.reauthorize(after.name);
        }
      }),
    );
    this.#watch();
  }

  /** Reads the file again and applies it. Never throws. */
  reload(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { permissions } = this.#options.directory;
    let read: ReadPolicy;
    try {
      read = readPolicyFile(permissions, permissions);
    } catch (thrown) {
      this.#broken(errorText(thrown));
      return;
    }
    const mended = this.#problem !== undefined;
    this.#problem = undefined;
    const { text, state, keysDigest } = this.#read;
    if (read.text === text && read.state === state && read.keysDigest === keysDigest && !mended) return;
    this.#use(read);
  }

  /** By what is in force, which need not be what the file says now. */
  explain(asked: ExplainRequest): ExplainResult {
    const basis = { policy: this.#read.policy, registry: this.#registry, outside: this.#remembered };
    const result = explainRequested(basis, asked);
    if (result.kind !== "explained" || this.#problem === undefined) return result;
    const { explanation } = result;
    const remark = `the lines are those of the file in force; as it is now it cannot be used: ${this.#problem}`;
    return { kind: "explained", explanation: { ...explanation, remarks: [...explanation.remarks, remark] } };
  }

  status(): Status["permissions"] {
    return {
      file: this.#options.directory.permissions,
      state: this.#read.state,
      roles: [...this.#read.policy.roles.keys()],
      loadedAt: new Date(this.#loadedAtMs).toISOString(),
      problem: this.#problem,
    };
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#stack.dispose();
  }

  #use(read: ReadPolicy): void {
    this.#read = read;
    this.#loadedAtMs = this.#options.clock.wallMs();
    this.#apply(read.policy);
    this.#target?.reauthorize();
    this.#tell();
  }

  #apply(policy: Policy): void {
    this.authorizer.use(policy);
    this.payloads.use(policy.payloads);
  }

  /** Has who is not in the registry known after a restart, for what it leaves behind. */
  #remember({ name, roles, groups }: VouchedIdentity): void {
    try {
      this.#remembered.remember(name, roles, groups);
    } catch (thrown) {
      this.#options.log.warn(
        { identity: name, error: errorText(thrown) },
        "the roles of an identity from outside cannot be written down; after a restart they count as lost until it connects",
      );
    }
    this.authorizer.forget(name);
  }

  #tell(): void {
    const { log, directory } = this.#options;
    const { state, policy } = this.#read;
    const file = directory.permissions;
    if (state === "good") log.info({ file, roles: policy.roles.size }, "the permissions are in force");
    else log.error({ file }, `the permissions file is ${state}: nobody may publish or subscribe anything`);
    for (const warning of this.#unknownRoles()) log.warn({ file }, warning);
    this.#record();
  }

  #record(): void {
    const { state, policy } = this.#read;
    const detail = state === "good" ? `roles ${[...policy.roles.keys()].join(", ")}` : `the file is ${state}`;
    this.#audit?.recordServer("permissions-loaded", detail);
  }

  /** A role that devices have and the file has not is a slip of somebody's fingers, and permits nothing. */
  #unknownRoles(): string[] {
    const unknown = new Map<string, string>();
    for (const { name, roles, removed } of this.#registry.all()) {
      if (removed !== undefined) continue;
      for (const role of roles) if (!this.#read.policy.roles.has(role)) unknown.set(role, name);
    }
    return Array.from(
      unknown,
      ([role, device]) =>
        `the role "${role}" of ${device} is not in the permissions file and permits nothing`,
    );
  }

  #broken(problem: string): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.log.error(
      { problem },
      "the permissions file cannot be used; the last good one stays in force",
    );
    this.#audit?.recordServer("permissions-broken", problem);
  }

  #watch(): void {
    const { log, directory } = this.#options;
    const { permissions } = directory;
    try {
      // The directory, not the file: most editors put a new file in the place of the old one.
      const watcher = watch(dirname(permissions), { persistent: false }, (_event, name) => {
        if (name === basename(permissions)) this.#later(settleMs);
      });
      watcher.on("error", (error) => this.#unwatched(errorText(error)));
      this.#stack.defer(() => watcher.close());
    } catch (thrown) {
      this.#unwatched(errorText(thrown));
    }
    log.debug({ file: permissions }, "watching the permissions file");
    const timer = setInterval(() => this.#lookAtKeys(), keysLookMs).unref();
    this.#stack.defer(() => clearInterval(timer));
  }

  /** Keys of groups are replaced while the permissions file stays as it is. */
  #lookAtKeys(): void {
    const seen = keyFilesSeen(this.#read.keyFiles);
    if (seen === this.#keysSeen) return;
    this.#keysSeen = seen;
    this.reload();
  }

  #unwatched(error: string): void {
    this.#options.log.warn({ error }, "the permissions file cannot be watched; SIGHUP reads it again");
  }

  #later(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (delayMs === settleMs && this.#isGone()) this.#later(goneMs);
      else this.reload();
    }, delayMs);
    this.#timer.unref();
  }

  #isGone(): boolean {
    const { permissions } = this.#options.directory;
    try {
      return readPolicyFile(permissions, permissions).state !== "good";
    } catch {
      return false;
    }
  }
}
