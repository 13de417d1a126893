import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { errorCode, errorText } from "@postern/core/errors";
import { ReplayGuard } from "@postern/seal/replay/replay-guard";
import type { CounterStore } from "@postern/seal/replay/sequence-counter";

import { DeviceFileError } from "../errors.ts";
import { takeLock, type LockResult } from "../lock-file.ts";
import { replacePrivateFile } from "../private-file.ts";

/** What a device must not forget of sealed payloads, in a directory that no other process uses. */
export class SealState {
  readonly #directory: string;
  readonly #release: () => void;

  /** @throws {DeviceFileError}, also where another process uses the directory: both would seal with the same numbers. */
  constructor(directory: string) {
    this.#directory = directory;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    } catch (thrown) {
      throw new DeviceFileError(`cannot make the directory ${directory}: ${errorText(thrown)}`, {
        cause: thrown,
      });
    }
    this.#release = this.#lock();
  }

  /** @throws {DeviceFileError} when somebody has it. */
  #lock(): () => void {
    const path = join(this.#directory, "lock");
    let result: LockResult;
    try {
      result = takeLock(path);
    } catch (thrown) {
      throw new DeviceFileError(`cannot write ${path}: ${errorText(thrown)}`, { cause: thrown });
    }
    if (result.kind === "taken") return result.release;
    throw new DeviceFileError(
      `${this.#directory} is in use by the process ${result.pid}: a device seals in one process at a time; end that one, or remove ${path} when it is none of ours`,
    );
  }

  /** Lets another process have it. */
  release(): void {
    this.#release();
  }

  /** How far this device has counted its own messages. */
  get counter(): CounterStore {
    return this.#counter("counter");
  }

  /** How far it has counted its wills. */
  get willCounter(): CounterStore {
    return this.#counter("wills");
  }

  #counter(name: string): CounterStore {
    return {
      load: () => Promise.resolve(this.#read(name)),
      save: (bytes) => {
        this.#write(name, bytes);
        return Promise.resolve();
      },
    };
  }

  /** What was accepted of others. @throws {DeviceFileError} when that is damaged: what was accepted could be accepted again. */
  loadGuard(): ReplayGuard {
    const bytes = this.#read("accepted");
    const guard = bytes === undefined ? new ReplayGuard() : ReplayGuard.decode(bytes);
    if (guard !== undefined) return guard;
    throw new DeviceFileError(
      `${join(this.#directory, "accepted")} is damaged: without it messages that came before could be accepted again; remove it to begin anew`,
    );
  }

  saveGuard(guard: ReplayGuard, options: { readonly exact: boolean }): void {
    this.#write("accepted", guard.encode(options));
  }

  /** The newest package of keys, which is encrypted to this device. */
  loadPackage(): Buffer | undefined {
    return this.#read("keys");
  }

  savePackage(bytes: Uint8Array): void {
    this.#write("keys", bytes);
  }

  /** The topics (filters) that groups of this device ever had: they do not become plain when it is no member any more. */
  loadFilters(): readonly string[] {
    return (this.#read("filters")?.toString("utf8") ?? "").split("\n").filter((line) => line !== "");
  }

  saveFilters(filters: readonly string[]): void {
    this.#write("filters", filters.map((filter) => `${filter}\n`).join(""));
  }

  /** The private key (PEM) of the certificate before: what is encrypted to it may still come. */
  loadFormerKey(): string | undefined {
    return this.#read("former.key")?.toString("utf8");
  }

  saveFormerKey(pem: string): void {
    this.#write("former.key", pem);
  }

  /** What was published last of new keys; continued at the next renewal. */
  loadSuccession(): Buffer | undefined {
    return this.#read("succession");
  }

  saveSuccession(bytes: Uint8Array): void {
    this.#write("succession", bytes);
  }

  #read(name: string): Buffer | undefined {
    const path = join(this.#directory, name);
    try {
      return readFileSync(path);
    } catch (thrown) {
      if (errorCode(thrown) === "ENOENT") return undefined;
      throw new DeviceFileError(`cannot read ${path}: ${errorText(thrown)}`, { cause: thrown });
    }
  }

  #write(name: string, content: string | Uint8Array): void {
    replacePrivateFile(join(this.#directory, name), content);
  }
}
