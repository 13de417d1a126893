import { z } from "zod";

import { isLoopback } from "@postern/core/host";
import {
  defaultFailureLimits,
  failureLimitsSchema,
  type FailureLimits,
} from "@postern/identity/authentication/failure-limits";
import { tokenAlgorithms, type TokenAlgorithm } from "@postern/identity/tokens/key-set";

import type { ConfigFile } from "./read.ts";

const text = z.string().min(1).max(1_024);
const claim = z.string().regex(/^[A-Za-z0-9_.:/-]{1,256}$/, { error: "must be the name of a claim" });

const issuerSchema = z.strictObject({
  issuer: text,
  audiences: z.array(text).min(1).max(16),
  keys: text,
  keysCa: text.optional(),
  algorithms: z.array(z.enum(tokenAlgorithms)).min(1).optional(),
  roleClaim: claim.optional(),
  groupClaim: claim.optional(),
});

const hookSchema = z.strictObject({
  url: text,
  ca: text.optional(),
  certificate: text.optional(),
  key: text.optional(),
  bearerFile: text.optional(),
  timeoutSeconds: z.int().min(1).max(30).optional(),
  concurrentMax: z.int().min(1).max(1_000).optional(),
  cacheSeconds: z.int().min(0).max(300).optional(),
});

/** `authentication:` in `postern.yaml`. */
export const authenticationSchema = z.strictObject({
  passwords: z
    .strictObject({
      concurrentMax: z.int().min(1).max(64).optional(),
      waitingMax: z.int().min(0).max(10_000).optional(),
    })
    .optional(),
  issuers: z.array(issuerSchema).max(16).optional(),
  hook: hookSchema.optional(),
  failures: failureLimitsSchema.optional(),
});

/** Whose tokens are accepted. Paths are as given, relative to the configuration file. */
export interface IssuerConfiguration {
  readonly issuer: string;
  readonly audiences: readonly string[];
  /** A file, or an https URL. */
  readonly keys: string;
  /** Trusted for that URL in the place of the system's authorities. */
  readonly keysCa: string | undefined;
  readonly algorithms: readonly TokenAlgorithm[];
  readonly roleClaim: string | undefined;
  readonly groupClaim: string | undefined;
}

/** A user store outside that is asked over HTTP. */
export interface HookConfiguration {
  readonly url: string;
  readonly ca: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  readonly bearerFile: string | undefined;
  readonly timeoutSeconds: number;
  readonly concurrentMax: number;
  readonly cacheSeconds: number;
}

/** How clients may prove who they are, beside certificates. */
export interface AuthenticationConfiguration {
  readonly passwords: { readonly concurrentMax: number; readonly waitingMax: number };
  readonly issuers: readonly IssuerConfiguration[];
  readonly hook: HookConfiguration | undefined;
  readonly failures: FailureLimits;
}

/** A symmetric or RSA algorithm is nothing that one gets without asking. */
const defaultAlgorithms: readonly TokenAlgorithm[] = ["ES256", "EdDSA"];

/** Whether token keys are fetched rather than read from a file. */
export function isUrl(keys: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(keys);
}

/** @throws {ConfigError} for what contradicts itself or would send secrets in the clear. */
export function resolveAuthentication({ given, errorAt }: ConfigFile): AuthenticationConfiguration {
  const { passwords, issuers = [], hook, failures } = given.authentication ?? {};
  const names = new Set<string>();
  for (const [index, { issuer, keys, keysCa }] of issuers.entries()) {
    const at = (key: string) => ["authentication", "issuers", index, key];
    if (names.has(issuer)) throw errorAt(at("issuer"), `the issuer "${issuer}" stands there twice`);
    if (issuer === "postern")
      throw errorAt(
        at("issuer"),
        'the issuer "postern" is the server itself: give the other one its own name',
      );
    names.add(issuer);
    if (isUrl(keys) && httpsProblem(keys) !== undefined)
      throw errorAt(
        at("keys"),
        `authentication.issuers[${index}].keys ${httpsProblem(keys) ?? ""}, or a file`,
      );
    if (keysCa !== undefined && !isUrl(keys))
      throw errorAt(
        at("keysCa"),
        `authentication.issuers[${index}].keysCa is for keys that are fetched, and these stand in a file`,
      );
  }
  return {
    passwords: { concurrentMax: passwords?.concurrentMax ?? 2, waitingMax: passwords?.waitingMax ?? 64 },
    issuers: issuers.map(({ issuer, audiences, keys, keysCa, algorithms, roleClaim, groupClaim }) => ({
      issuer,
      audiences,
      keys,
      keysCa,
      algorithms: algorithms ?? defaultAlgorithms,
      roleClaim,
      groupClaim,
    })),
    hook: hook === undefined ? undefined : resolveHook(hook, errorAt),
    failures: { ...defaultFailureLimits, ...withoutUndefined(failures ?? {}) },
  };
}

function resolveHook(hook: z.infer<typeof hookSchema>, errorAt: ConfigFile["errorAt"]): HookConfiguration {
  const problem = hookUrlProblem(hook.url);
  if (problem !== undefined)
    throw errorAt(["authentication", "hook", "url"], `authentication.hook.url ${problem}`);
  if ((hook.certificate === undefined) !== (hook.key === undefined))
    throw errorAt(
      ["authentication", "hook", hook.key === undefined ? "certificate" : "key"],
      "authentication.hook.certificate and authentication.hook.key go together",
    );
  const { ca, certificate, key, bearerFile, timeoutSeconds = 3, concurrentMax = 32, cacheSeconds = 0 } = hook;
  return { url: hook.url, ca, certificate, key, bearerFile, timeoutSeconds, concurrentMax, cacheSeconds };
}

/** What is wrong with a URL that must be https, without credentials in it. */
function httpsProblem(url: string): string | undefined {
  const parsed = URL.parse(url);
  const fine = parsed?.protocol === "https:" && parsed.username === "" && parsed.password === "";
  return fine ? undefined : "must be an https:// URL without user name and password";
}

function hookUrlProblem(url: string): string | undefined {
  const parsed = URL.parse(url);
  if (parsed?.protocol === "http:" && isLoopback(parsed.hostname.replace(/^\[|\]$/g, "")))
    return parsed.username === "" && parsed.password === "" ? undefined : httpsProblem(url);
  return httpsProblem(url) === undefined
    ? undefined
    : "must be an https:// URL without user name and password (http:// only to this machine, by its address): what is sent there are passwords";
}

function withoutUndefined<T extends object>(values: T): { [key in keyof T]?: Exclude<T[key], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.assign(Object.create(null), Object.fromEntries(entries));
}
