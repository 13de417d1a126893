import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

import type { AuditLog, Authenticator } from "@postern/broker/ports";
import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";
import { AuthenticationChain, type ChainOptions } from "@postern/identity/authentication/chain";
import { FailureRecorder, type FailureEvent } from "@postern/identity/authentication/failure-recorder";
import { PasswordAuthenticator } from "@postern/identity/authentication/password-authenticator";
import { Scram } from "@postern/identity/authentication/scram-exchange";
import { SealedPasswords } from "@postern/identity/authentication/sealed-passwords";
import { SecretJudge } from "@postern/identity/authentication/secret-judge";
import { readSecretIfThere, replacePrivateFile } from "@postern/identity/files";
import type { Hook } from "@postern/identity/hook/hook";
import { HttpHook } from "@postern/identity/hook/http-hook";
import { PasswordQueue } from "@postern/identity/password/password-queue";
import type { DeviceRegistry } from "@postern/identity/registry";
import { DeviceTokens } from "@postern/identity/tokens/device-tokens";
import { keySetBytesMax } from "@postern/identity/tokens/key-set";
import { LocalKeys, RemoteKeys, type KeySource } from "@postern/identity/tokens/key-source";
import { TokenVerifier, type TokenIssuer } from "@postern/identity/tokens/token-verifier";
import type { DecryptionKey } from "@postern/seal/keys/recipient";

import type { Status } from "../admin/protocol.ts";
import {
  isUrl,
  type AuthenticationConfiguration,
  type HookConfiguration,
  type IssuerConfiguration,
} from "../config/authentication.ts";
import { ConfigError } from "../config/errors.ts";
import type { Configuration } from "../config/configuration.ts";
import { createOutbound, type Outbound, type OutboundOptions } from "./outbound-http.ts";

/** Token keys are fetched while clients wait, who are cut off at `connectTimeoutSeconds`. */
const keysTimeoutMs = 3_000;

/** A client that is not answered within `connectTimeoutSeconds` is cut off without a word. */
const passwordWaitMsMax = 2_500;

const hookAnswerBytesMax = 65_536;

export interface AuthenticationOptions {
  readonly configuration: Configuration;
  /** The configuration's file is relative to it. */
  readonly cwd: string;
  /** The directory `pki` of the data directory. */
  readonly pki: string;
  /** Judges certificates and PSK identities. */
  readonly transport: ChainOptions["transport"];
  readonly registry: DeviceRegistry;
  readonly audit: AuditLog;
  /** The server's own key, for passwords that are encrypted to it. */
  readonly decryption: DecryptionKey;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each failure, for whoever bans sources. */
  readonly onFailure?: ((event: FailureEvent) => void) | undefined;
}

/** Who somebody is, by whatever they present; with the counters of those who could not prove it. */
export class Authentication implements Disposable {
  readonly authenticator: Authenticator;
  readonly failures: FailureRecorder;
  /** Makes the tokens of devices. */
  readonly deviceTokens: DeviceTokens;
  readonly #queue: PasswordQueue;
  readonly #files: readonly KeyFile[];
  readonly #log: Log;
  readonly #stack: DisposableStack;

  private constructor(options: AuthenticationOptions, deviceTokens: DeviceTokens) {
    const { configuration, clock, log, registry, pki } = options;
    const { authentication } = configuration;
    using stack = new DisposableStack();
    this.#log = log;
    this.failures = new FailureRecorder({
      clock,
      limits: authentication.failures,
      onFailure: (event) => {
        noteBackOff(options.audit, event);
        options.onFailure?.(event);
      },
    });
    this.deviceTokens = deviceTokens;
    const { concurrentMax, waitingMax } = authentication.passwords;
    this.#queue = new PasswordQueue(
      { runningMax: concurrentMax, waitingMax, waitMsMax: passwordWaitMsMax },
      () => clock.monotonicMs(),
    );
    const files = new Files(options);
    const issuers = authentication.issuers.map((issuer) => issuerOf(issuer, files, options, stack));
    this.#files = issuers.flatMap(({ file }) => (file === undefined ? [] : [file]));
    const failures = this.failures;
    const secrets = new SecretJudge({
      devices: registry,
      passwords: new PasswordAuthenticator({ devices: registry, queue: this.#queue }),
      tokens: new TokenVerifier({
        issuers: [deviceTokens.issuer, ...issuers.map(({ issuer }) => issuer)],
        devices: registry,
        clock,
      }),
      hook: hookOf(authentication, files, clock, stack),
      failures,
    });
    this.authenticator = new AuthenticationChain({
      transport: options.transport,
      secrets,
      sealed: new SealedPasswords({ decryption: options.decryption, clock }),
      scram: new Scram({ devices: registry, failures, secret: saltSecret(pki) }),
      failures,
    });
    this.#stack = stack.move();
  }

  /** @throws {ConfigError}, {TokenKeysError}, {PkiFileError} */
  static async open(options: AuthenticationOptions): Promise<Authentication> {
    return new Authentication(options, await DeviceTokens.open(options.pki));
  }

  /** Reads the files with token keys again; one that is wrong is logged, and its last good keys stay. */
  reload(): void {
    for (const { load } of this.#files) {
      try {
        load();
      } catch (thrown) {
        this.#log.error(
          { error: errorText(thrown) },
          "token keys could not be read again; the old ones stay",
        );
      }
    }
  }

  status(): Status["authentication"] {
    return {
      ...this.failures.status,
      passwordsWaiting: this.#queue.waitingCount,
      passwordsTurnedAway: this.#queue.refusedCount,
    };
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** Counts what permissions refused, on its way to the audit log. */
export function countingRefusals(audit: AuditLog, failures: FailureRecorder): AuditLog {
  return {
    record(event) {
      audit.record(event);
      if (event.kind === "publish-refused" || event.kind === "subscribe-refused")
        failures.record({ address: event.address, identity: event.identity }, "permission");
    },
  };
}

function noteBackOff(audit: AuditLog, { waitMs, address, identity, ofSource, kind }: FailureEvent): void {
  if (waitMs === 0) return;
  audit.record({
    kind: "backed-off",
    listener: "",
    address,
    clientId: "",
    identity: "",
    detail: `${ofSource} failures of late, the last by ${kind} as ${JSON.stringify(identity.slice(0, 64))}; ${waitMs / 1_000} s to wait`,
  });
}

interface KeyFile {
  readonly load: () => void;
}

/** Files that the configuration names, relative to it. */
class Files {
  readonly #file: string;
  readonly #directory: string;

  constructor({ configuration, cwd }: Pick<AuthenticationOptions, "configuration" | "cwd">) {
    this.#file = configuration.file ?? "";
    this.#directory = dirname(resolve(cwd, this.#file));
  }

  /** @throws {ConfigError} when it cannot be read. */
  read(key: string, file: string): string {
    try {
      return readFileSync(resolve(this.#directory, file), "utf8");
    } catch (thrown) {
      throw new ConfigError(
        `cannot read ${file}, which ${key} names: ${errorText(thrown)}`,
        { file: this.#file, key },
        { cause: thrown },
      );
    }
  }

  /** As `read`, and others than its owner must not be able to. @throws {PkiFileError} */
  readSecret(key: string, file: string): string {
    const path = resolve(this.#directory, file);
    return readSecretIfThere(path) ?? this.read(key, file);
  }

  readIfNamed(key: string, file: string | undefined): string | undefined {
    return file === undefined ? undefined : this.read(key, file);
  }

  /** @throws {ConfigError} for a certificate or key that TLS cannot use, or an address that is never asked. */
  outbound(key: string, options: OutboundOptions): Outbound {
    try {
      return createOutbound(options);
    } catch (thrown) {
      throw new ConfigError(
        `${key} cannot be used: ${errorText(thrown)}`,
        { file: this.#file, key },
        { cause: thrown },
      );
    }
  }
}

function issuerOf(
  configuration: IssuerConfiguration,
  files: Files,
  { clock, log }: Pick<AuthenticationOptions, "clock" | "log">,
  stack: DisposableStack,
): { readonly issuer: TokenIssuer; readonly file: KeyFile | undefined } {
  const { issuer, audiences, algorithms, roleClaim, groupClaim, keys } = configuration;
  const common = { issuer, audiences, algorithms, roleClaim, groupClaim, registered: false };
  if (isUrl(keys)) {
    const source = remoteKeys(configuration, files, { clock, log }, stack);
    return { issuer: { ...common, keys: source }, file: undefined };
  }
  const source = new LocalKeys([]);
  const load = (): void => source.load(files.read("authentication.issuers[].keys", keys), keys);
  load();
  return { issuer: { ...common, keys: source }, file: { load } };
}

function remoteKeys(
  { keys, keysCa }: IssuerConfiguration,
  files: Files,
  { clock, log }: Pick<AuthenticationOptions, "clock" | "log">,
  stack: DisposableStack,
): KeySource {
  const outbound = stack.use(
    files.outbound("authentication.issuers[].keys", {
      url: keys,
      ca: files.readIfNamed("authentication.issuers[].keysCa", keysCa),
      timeoutMs: keysTimeoutMs,
      responseBytesMax: keySetBytesMax,
      concurrentMax: 1,
    }),
  );
  return new RemoteKeys({ url: keys, fetchText: () => outbound.get(), clock, log });
}

function hookOf(
  { hook }: AuthenticationConfiguration,
  files: Files,
  clock: Clock,
  stack: DisposableStack,
): Hook | undefined {
  if (hook === undefined) return undefined;
  const { url, timeoutSeconds, concurrentMax, cacheSeconds } = hook;
  const outbound = stack.use(
    files.outbound("authentication.hook", {
      url,
      ...hookCredentials(hook, files),
      timeoutMs: timeoutSeconds * 1_000,
      responseBytesMax: hookAnswerBytesMax,
      concurrentMax,
    }),
  );
  return new HttpHook({ post: (body) => outbound.post(body), clock, concurrentMax, cacheSeconds });
}

function hookCredentials(
  { ca, certificate, key, bearerFile }: HookConfiguration,
  files: Files,
): Pick<OutboundOptions, "ca" | "certificate" | "key" | "bearer"> {
  const bearer = (): string =>
    bearerFile === undefined ? "" : files.readSecret("authentication.hook.bearerFile", bearerFile).trim();
  // Read now as well, so that a missing file is an error of the start.
  if (bearerFile !== undefined) bearer();
  return {
    ca: files.readIfNamed("authentication.hook.ca", ca),
    certificate: files.readIfNamed("authentication.hook.certificate", certificate),
    key: key === undefined ? undefined : files.readSecret("authentication.hook.key", key),
    bearer: bearerFile === undefined ? undefined : bearer,
  };
}

/** What the salts are made of that SCRAM shows for names that nobody has; the same after each start. */
function saltSecret(pki: string): Uint8Array {
  const path = join(pki, "salt.key");
  const known = readSecretIfThere(path);
  if (known !== undefined && known.trim() !== "") return Buffer.from(known.trim(), "hex");
  const secret = randomBytes(32);
  replacePrivateFile(path, `${secret.toString("hex")}\n`);
  return secret;
}
