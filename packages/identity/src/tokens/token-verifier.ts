import { createHash, timingSafeEqual } from "node:crypto";

import type { Clock } from "@postern/core/clock";
import { compactVerify } from "jose";

import type { ProvenIdentity } from "../authentication/credentials.ts";
import type { DeviceDirectory } from "../authentication/password-authenticator.ts";
import { isOutsideName, namesOf } from "../authentication/outside-names.ts";
import { refusalOfDevice, type Device } from "../device.ts";
import type { TokenAlgorithm } from "./key-set.ts";
import type { KeySource } from "./key-source.ts";
import { isObject, parseStrictObject } from "./strict-json.ts";

/** Somebody whose tokens are accepted. */
export interface TokenIssuer {
  /** Exactly what stands in `iss`. */
  readonly issuer: string;
  /** One of these must stand in `aud`. */
  readonly audiences: readonly string[];
  readonly algorithms: readonly TokenAlgorithm[];
  readonly keys: KeySource;
  /** True for the server's own tokens: each is in the device registry, and counts only while it is. */
  readonly registered: boolean;
  /** Claims that name roles and groups of whoever is not in the device registry; without the first, nobody else is accepted. */
  readonly roleClaim: string | undefined;
  readonly groupClaim: string | undefined;
}

export interface TokenVerifierOptions {
  readonly issuers: readonly TokenIssuer[];
  readonly devices: DeviceDirectory;
  readonly clock: Clock;
  /** How far clocks may differ. */
  readonly leewaySeconds?: number;
}

export type TokenVerdict =
  | { readonly kind: "accepted"; readonly identity: ProvenIdentity; readonly untilMs: number }
  | { readonly kind: "refused"; readonly reason: string }
  /** The keys cannot be had. */
  | { readonly kind: "unavailable"; readonly reason: string };

/** Looked at before anything is decoded. */
const tokenBytesMax = 8_192;

const compact = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)$/;

const tokenTypes: ReadonlySet<unknown> = new Set([undefined, "JWT", "jwt", "at+jwt"]);

type Claims = Readonly<Record<string, unknown>>;

/** A token taken apart, with nothing proved. */
interface Decoded {
  readonly text: string;
  readonly header: Claims;
  readonly claims: Claims;
}

/**
 * Verifies signed JSON Web Tokens. The key comes from the configured issuer's set and from nowhere else: `jku`, `x5u`, `jwk` and
 * `x5c` in a token are not looked at, and `kid` is only compared. @see RFC 7519, RFC 8725
 */
export class TokenVerifier {
  readonly #issuers: ReadonlyMap<string, TokenIssuer>;
  readonly #devices: DeviceDirectory;
  readonly #clock: Clock;
  readonly #leewaySeconds: number;

  constructor({ issuers, devices, clock, leewaySeconds = 30 }: TokenVerifierOptions) {
    this.#issuers = new Map(issuers.map((issuer) => [issuer.issuer, issuer]));
    this.#devices = devices;
    this.#clock = clock;
    this.#leewaySeconds = leewaySeconds;
  }

  /** Whom the token claims to be, unproved, or empty; `undefined` for what is no token, or one of an issuer nobody knows. */
  claimOf(bytes: Uint8Array): string | undefined {
    const [, , payload = ""] = compact.exec(textOf(bytes)) ?? [];
    let claims: unknown;
    try {
      claims = JSON.parse(Buffer.from(payload, "base64url").toString("utf8"));
    } catch {
      return undefined;
    }
    if (!isObject(claims) || typeof claims["iss"] !== "string" || !this.#issuers.has(claims["iss"]))
      return undefined;
    return typeof claims["sub"] === "string" ? claims["sub"] : "";
  }

  /** `certificate` is the one that the client presented to TLS. Never throws for what a client sends. */
  async verify(bytes: Uint8Array, certificate: Uint8Array | undefined): Promise<TokenVerdict> {
    const decoded = decode(bytes);
    if ("problem" in decoded) return refusal(decoded.problem);
    const { text, header, claims } = decoded;
    const issuer = typeof claims["iss"] === "string" ? this.#issuers.get(claims["iss"]) : undefined;
    if (issuer === undefined) return refusal("nobody here knows its issuer");
    const algorithm = issuer.algorithms.find((name) => name === header["alg"]);
    if (algorithm === undefined) return refusal("its signature algorithm is not allowed");
    const { kid } = header;
    if (kid !== undefined && typeof kid !== "string") return refusal("its key id is no text");
    const problem =
      headerProblem(header) ??
      audienceProblem(claims, issuer) ??
      this.#timeProblem(claims) ??
      confirmationProblem(claims["cnf"], certificate);
    if (problem !== undefined) return refusal(problem);
    const answer = await issuer.keys.find(kid, algorithm);
    if (answer.kind === "unavailable") return answer;
    if (answer.kind === "none") return refusal("nobody here has its key");
    try {
      await compactVerify(text, answer.key.key, { algorithms: [algorithm] });
    } catch {
      return refusal("its signature is wrong");
    }
    return this.#judge(claims, issuer);
  }

  /** What is wrong with the token's times now. @see RFC 7519 §4.1.4 to §4.1.6 */
  #timeProblem({ exp, nbf, iat }: Claims): string | undefined {
    const nowSeconds = this.#clock.wallMs() / 1_000;
    if (!isTime(exp)) return "it has no expiry";
    if (nowSeconds >= exp + this.#leewaySeconds) return "it has expired";
    for (const [name, time] of [
      ["not valid yet", nbf],
      ["issued in the future", iat],
    ] as const) {
      if (time === undefined) continue;
      if (!isTime(time)) return "one of its times is no number";
      if (nowSeconds < time - this.#leewaySeconds) return `it is ${name}`;
    }
    return undefined;
  }

  /** Who a token that is genuine and in time speaks for. */
  #judge(claims: Claims, issuer: TokenIssuer): TokenVerdict {
    const { sub, exp } = claims;
    if (typeof sub !== "string" || sub === "" || !isTime(exp)) return refusal("it names nobody");
    const untilMs = (exp + this.#leewaySeconds) * 1_000;
    const device = this.#devices.find(sub);
    if (device !== undefined) {
      const identity = { name: sub, anonymous: false } as const;
      const reason = refusalOfDevice(device);
      if (reason !== undefined) return refusal(reason);
      if (!issuer.registered) return { kind: "accepted", identity, untilMs };
      const endMs = this.#registeredEndMs(claims, device);
      return typeof endMs === "string"
        ? refusal(endMs)
        : { kind: "accepted", identity, untilMs: Math.min(untilMs, endMs) };
    }
    const { roleClaim, groupClaim } = issuer;
    if (issuer.registered || roleClaim === undefined) return refusal("no device has the name in it");
    if (!isOutsideName(sub)) return refusal("the name in it cannot be used");
    if (claims[roleClaim] === undefined)
      return refusal("it is for nobody in the registry and names no roles");
    const roles = namesOf(claims[roleClaim]);
    const groups = groupClaim === undefined ? [] : namesOf(claims[groupClaim]);
    if (roles === undefined || groups === undefined)
      return refusal("its roles or groups are not lists of names");
    return { kind: "accepted", identity: { name: sub, anonymous: false, roles, groups }, untilMs };
  }

  /** When one of the server's own tokens ends, or why it does not count any more. */
  #registeredEndMs({ jti, tenant }: Claims, device: Device): number | string {
    if (tenant !== device.tenant) return "it is of another tenant";
    const known = device.tokens.find((token) => token.jti === jti);
    if (known === undefined) return "it is not a token that the device has";
    if (known.revoked !== undefined) return `it was revoked at ${known.revoked.at}`;
    // A rotation ends it before its time.
    const endMs = Date.parse(known.notAfter) + this.#leewaySeconds * 1_000;
    return this.#clock.wallMs() < endMs ? endMs : `it was replaced, and ended at ${known.notAfter}`;
  }
}

function refusal(reason: string): TokenVerdict {
  return { kind: "refused", reason };
}

function headerProblem({ crit, typ }: Claims): string | undefined {
  if (crit !== undefined) return "it has critical extensions";
  return tokenTypes.has(typ) ? undefined : "it is of another type than JWT";
}

function audienceProblem({ aud }: Claims, { audiences }: TokenIssuer): string | undefined {
  const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  return named.some((name) => typeof name === "string" && audiences.includes(name))
    ? undefined
    : "it is for another audience";
}

/** A token that is bound to a certificate is good beside that certificate only. @see RFC 8705 §3.1 */
function confirmationProblem(cnf: unknown, certificate: Uint8Array | undefined): string | undefined {
  if (cnf === undefined) return undefined;
  const thumbprint = isObject(cnf) ? cnf["x5t#S256"] : undefined;
  if (!isObject(cnf) || Object.keys(cnf).length !== 1 || typeof thumbprint !== "string")
    return "it is bound to something that cannot be checked here";
  if (certificate === undefined) return "it is bound to a certificate, and none was presented";
  const wanted = Buffer.from(thumbprint);
  const presented = Buffer.from(createHash("sha256").update(certificate).digest("base64url"));
  const same = wanted.length === presented.length && timingSafeEqual(wanted, presented);
  return same ? undefined : "it is bound to another certificate";
}

/** The token's text; empty for what is too long. */
function textOf(bytes: Uint8Array): string {
  return bytes.length > tokenBytesMax ? "" : Buffer.from(bytes).toString("latin1");
}

function decode(bytes: Uint8Array): Decoded | { readonly problem: string } {
  if (bytes.length > tokenBytesMax) return { problem: `it has more than ${tokenBytesMax} bytes` };
  const text = textOf(bytes);
  const [, protectedHeader = "", payload = ""] = compact.exec(text) ?? [];
  const header = parsePart(protectedHeader);
  const claims = parsePart(payload);
  if (header === undefined || claims === undefined)
    return { problem: "it is not made of three parts that hold JSON objects with each key once" };
  return { text, header, claims };
}

function parsePart(part: string): Claims | undefined {
  try {
    const bytes = Buffer.from(part, "base64url");
    return parseStrictObject(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

/** Seconds since 1970, as far as a date can say. */
function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 && value < 8.64e12;
}
