import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { errorText } from "@postern/core/errors";
import { takeLock, type LockResult } from "@postern/device/lock-file";
import { replacePrivateFile } from "@postern/device/private-file";
import { signingKey, type SigningKey } from "@postern/seal/keys/signature";
import { z } from "zod";

import { CliError, ExitCode } from "../errors.ts";

/** The directory of a key authority cannot be used: it is none, is in use, or is damaged. */
export class KeyDirectoryError extends CliError {
  readonly code = "KEY_DIRECTORY";
  readonly exitCode = ExitCode.usage;
}

const seconds = z.int().min(1);
const time = z.int().min(0);

const stateSchema = z.strictObject({
  /** The version of this file. */
  postern: z.literal(1),
  tenant: z.string().min(1),
  /** Of the last package that was made. */
  serial: z.int().min(0),
  /** The bundle that packages are published with. */
  publisher: z.string().optional(),
  /** Devices that are or were members, by whatever group. */
  devices: z.array(
    z.strictObject({
      name: z.string().min(1),
      /** Public keys of its certificates, the newest first (SubjectPublicKeyInfo, DER, in base64). */
      keys: z.array(z.base64()).min(1),
      /** Its bundle or certificate, looked at again before packages are made; and the key that was in it last. */
      source: z.string().optional(),
      sourceKey: z.base64().optional(),
      /** Whether its bundle was told whose keys to take, and is to be told again. */
      told: z.boolean().optional(),
    }),
  ),
  groups: z.array(
    z.strictObject({
      name: z.string().min(1),
      filters: z.array(z.string()).min(1),
      mode: z.enum(["mac", "signed", "encrypted", "signed+encrypted"]),
      maxAgeSeconds: seconds.optional(),
      retained: z.boolean(),
      rotateSeconds: seconds.optional(),
      graceSeconds: z.int().min(0),
      /** The file with what a broker checks MACs with; written anew with each new key. */
      macKeysFile: z.string().optional(),
      /** The file with what a server seals with; written anew when members are given a new key. */
      groupKeysFile: z.string().optional(),
      epochs: z.array(
        z.strictObject({
          epoch: z.int().min(1),
          secret: z.base64().length(44),
          notBeforeMs: time,
          openUntilMs: time.optional(),
        }),
      ),
      members: z.array(
        z.strictObject({ device: z.string().min(1), signs: z.boolean(), joinedEpoch: z.int().min(0) }),
      ),
    }),
  ),
});

/** All that a key authority remembers. Holds the secrets of groups. */
export type KeyState = z.infer<typeof stateSchema>;

const stateFile = "groups.json";
const keyFile = "authority.pem";
const lockFile = "lock";

/** How long a command waits for another one that changes the same directory. */
const lockWaitMs = 10_000;
const lockLookMs = 20;

/**
 * The directory of a key authority: its private key and the groups with their secrets. It belongs to whoever decides who reads what,
 * and not to the server: a broker that has it can read everything.
 */
export class KeyDirectory implements Disposable {
  readonly path: string;
  readonly authority: SigningKey;
  /** SubjectPublicKeyInfo, DER: what devices are told to trust. */
  readonly publicKey: Buffer;
  state: KeyState;
  readonly #release: () => void;

  private constructor(
    path: string,
    { state, release }: { readonly state: KeyState; readonly release: () => void },
  ) {
    this.path = path;
    this.state = state;
    this.#release = release;
    const privateKey = createPrivateKey(readSecret(join(path, keyFile)));
    this.authority = signingKey(privateKey);
    this.publicKey = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  }

  /** Opens it for this process alone, until it is disposed of. @throws {KeyDirectoryError} */
  static async open(path: string): Promise<KeyDirectory> {
    if (!holdsKeys(path)) {
      throw unusable(path, "there are no keys in it: `postern keys group create` makes them");
    }
    return KeyDirectory.#locked(path, () => {});
  }

  /**
   * As `open`, and makes a new key authority for `tenant`, of which `onMade` is told, where there is none: by one of several commands at
   * once. @throws {KeyDirectoryError} when the directory holds something else
   */
  static async openOrMake(path: string, tenant: string, onMade: () => void): Promise<KeyDirectory> {
    if (!holdsKeys(path)) makeRoom(path);
    return KeyDirectory.#locked(path, () => {
      if (holdsKeys(path)) return;
      makeAuthority(path, tenant);
      onMade();
    });
  }

  static async #locked(path: string, prepare: () => void): Promise<KeyDirectory> {
    const release = await lock(path);
    try {
      prepare();
      return new KeyDirectory(path, { state: readState(path), release });
    } catch (thrown) {
      release();
      throw thrown;
    }
  }

  /** Writes what is in `state`; a crash leaves the old or the new. Never what could not be read again: all keys would be lost with it. */
  save(): void {
    stateSchema.parse(this.state);
    replacePrivateFile(join(this.path, stateFile), `${JSON.stringify(this.state, undefined, 2)}\n`);
  }

  /** A number above all of before, also when the directory is an older copy of itself. */
  nextSerial(nowMs: number): number {
    this.state.serial = Math.max(this.state.serial + 1, nowMs);
    return this.state.serial;
  }

  [Symbol.dispose](): void {
    this.#release();
  }
}

function holdsKeys(path: string): boolean {
  return existsSync(join(path, stateFile));
}

/** Sees to a directory that a key authority can be made in: an empty one, or one where that was begun. */
function makeRoom(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const ours = (name: string): boolean =>
      [stateFile, keyFile, lockFile].some((each) => name.startsWith(each));
    const other = readdirSync(path).find((name) => !ours(name));
    if (other !== undefined) throw unusable(path, `it holds something else ("${other}")`);
  } catch (thrown) {
    throw thrown instanceof KeyDirectoryError ? thrown : unusable(path, errorText(thrown), thrown);
  }
}

function makeAuthority(path: string, tenant: string): void {
  const { privateKey } = generateKeyPairSync("ed25519");
  replacePrivateFile(join(path, keyFile), privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  const state: KeyState = { postern: 1, tenant, serial: 0, devices: [], groups: [] };
  replacePrivateFile(join(path, stateFile), `${JSON.stringify(state, undefined, 2)}\n`);
}

function unusable(path: string, problem: string, cause?: unknown): KeyDirectoryError {
  return new KeyDirectoryError(`cannot use ${path} as the directory of a key authority: ${problem}`, {
    cause,
  });
}

function readState(path: string): KeyState {
  const file = join(path, stateFile);
  let value: unknown;
  try {
    value = JSON.parse(readSecret(file));
  } catch (thrown) {
    if (thrown instanceof KeyDirectoryError) throw thrown;
    // V8's message quotes the text around the mistake, which may be a secret: it must not become the cause.
    throw unusable(path, `${stateFile} is not JSON; put back a copy of the directory`);
  }
  const result = stateSchema.safeParse(value);
  if (result.success) return result.data;
  throw unusable(
    path,
    `${stateFile} is damaged at "${result.error.issues[0]?.path.join(".") ?? ""}"; put back a copy`,
  );
}

function readSecret(file: string): string {
  try {
    if ((statSync(file).mode & 0o077) !== 0) {
      throw new KeyDirectoryError(`${file} holds secrets and is open to other users: run chmod 600 ${file}`);
    }
    return readFileSync(file, "utf8");
  } catch (thrown) {
    if (thrown instanceof KeyDirectoryError) throw thrown;
    throw new KeyDirectoryError(`cannot read ${file}: ${errorText(thrown)}`, { cause: thrown });
  }
}

/** @returns what lets another command have it. */
async function lock(path: string): Promise<() => void> {
  const deadline = performance.now() + lockWaitMs;
  for (;;) {
    let result: LockResult;
    try {
      result = takeLock(join(path, lockFile));
    } catch (thrown) {
      throw unusable(path, errorText(thrown), thrown);
    }
    if (result.kind === "taken") return result.release;
    if (performance.now() > deadline)
      throw unusable(path, `another command (process ${result.pid}) is changing it; try again`);
    await delay(lockLookMs + randomBytes(1).readUInt8());
  }
}
