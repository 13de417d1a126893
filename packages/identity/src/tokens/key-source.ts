import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";

import { TokenKeysError } from "../errors.ts";
import { parseKeySet, type TokenAlgorithm, type TokenKey } from "./key-set.ts";

/** What a key source says: the key, that there is none, or that it cannot say. */
export type KeyAnswer =
  | { readonly kind: "key"; readonly key: TokenKey }
  | { readonly kind: "none" }
  | { readonly kind: "unavailable"; readonly reason: string };

/** Where the keys of one token issuer come from. */
export interface KeySource {
  /** The key with this id; without an id, the only one there is for the algorithm. */
  find(kid: string | undefined, algorithm: TokenAlgorithm): KeyAnswer | Promise<KeyAnswer>;
}

function choose(
  keys: readonly TokenKey[],
  kid: string | undefined,
  algorithm: TokenAlgorithm,
): TokenKey | undefined {
  const fitting = keys.filter(({ algorithms }) => algorithms.includes(algorithm));
  if (kid === undefined) return fitting.length === 1 ? fitting[0] : undefined;
  // A key without an id is the only one of a PEM file, and stands for every id.
  return fitting.find((key) => key.kid === kid || (key.kid === undefined && keys.length === 1));
}

/** Keys that are at hand. */
export class LocalKeys implements KeySource {
  #keys: readonly TokenKey[];

  constructor(keys: readonly TokenKey[]) {
    this.#keys = keys;
  }

  /** Takes the keys of a file's text in the place of those there were. @throws {TokenKeysError} and changes nothing. */
  load(text: string, file: string): void {
    const result = parseKeySet(text);
    if (result.kind === "invalid")
      throw new TokenKeysError(
        `cannot use the token keys in ${file}: ${result.problem}; wanted a JSON Web Key Set or a public key in PEM`,
      );
    this.#keys = result.keys;
  }

  find(kid: string | undefined, algorithm: TokenAlgorithm): KeyAnswer {
    const key = choose(this.#keys, kid, algorithm);
    return key === undefined ? { kind: "none" } : { kind: "key", key };
  }
}

/** After this time the keys are fetched again, at the next token. */
const refreshMs = 600_000;

/** Between two attempts at least: tokens with invented key ids must not make us knock at somebody's door. */
const attemptMs = 30_000;

/** How long keys are used that could not be fetched again; after that no token is accepted. */
const keptMs = 86_400_000;

export interface RemoteKeysOptions {
  readonly url: string;
  /** The body of a GET; rejects for anything but a good answer. */
  readonly fetchText: (url: string) => Promise<string>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Keys fetched from a configured URL when they are first needed, kept, and fetched again when they are old or do not have a key id. */
export class RemoteKeys implements KeySource {
  readonly #options: RemoteKeysOptions;
  #keys: readonly TokenKey[] | undefined;
  /** Monotonic ms. */
  #fetchedMs = -Infinity;
  #attemptedMs = -Infinity;
  #problem = "they were not fetched yet";
  #running: Promise<void> | undefined;

  constructor(options: RemoteKeysOptions) {
    this.#options = options;
  }

  async find(kid: string | undefined, algorithm: TokenAlgorithm): Promise<KeyAnswer> {
    const { clock, url } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#fetchedMs >= refreshMs) await this.#refresh();
    if (this.#keys !== undefined && choose(this.#keys, kid, algorithm) === undefined) await this.#refresh();
    if (this.#keys === undefined || clock.monotonicMs() - this.#fetchedMs > keptMs)
      return { kind: "unavailable", reason: `the token keys at ${url} cannot be had: ${this.#problem}` };
    const key = choose(this.#keys, kid, algorithm);
    return key === undefined ? { kind: "none" } : { kind: "key", key };
  }

  /** Fetches them, unless that was tried a moment ago; whoever needs them meanwhile waits for the same answer. */
  async #refresh(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#running === undefined) {
      if (nowMs - this.#attemptedMs < attemptMs) return;
      this.#attemptedMs = nowMs;
      this.#running = this.#fetch().finally(() => (this.#running = undefined));
    }
    await this.#running;
  }

  async #fetch(): Promise<void> {
    const { url, fetchText, clock, log } = this.#options;
    try {
      const result = parseKeySet(await fetchText(url));
      if (result.kind === "invalid") throw new TokenKeysError(result.problem);
      this.#keys = result.keys;
      this.#fetchedMs = clock.monotonicMs();
      log.debug({ url, keys: result.keys.length }, "token keys were fetched");
    } catch (thrown) {
      this.#problem = errorText(thrown);
      log.warn({ url, error: this.#problem }, "token keys cannot be fetched; the last good ones stay");
    }
  }
}
