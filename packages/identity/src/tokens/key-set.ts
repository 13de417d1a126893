import { createPublicKey, type JsonWebKeyInput, type KeyObject } from "node:crypto";

import { isObject, parseStrictObject } from "./strict-json.ts";

/** Signatures that tokens may have. Nothing symmetric: whoever could check such a token could make one. */
export const tokenAlgorithms = ["ES256", "EdDSA", "RS256", "PS256"] as const;
export type TokenAlgorithm = (typeof tokenAlgorithms)[number];

/** A public key that tokens may be signed with. */
export interface TokenKey {
  /** Only ever compared; never a path, a URL or part of a query. */
  readonly kid: string | undefined;
  readonly key: KeyObject;
  readonly algorithms: readonly TokenAlgorithm[];
}

/** Keys, or what is wrong with the text. */
export type KeySetResult =
  | { readonly kind: "keys"; readonly keys: readonly TokenKey[] }
  | { readonly kind: "invalid"; readonly problem: string };

/** A set of more bytes or keys is a mistake, or meant to hurt. */
export const keySetBytesMax = 262_144;
const keysMax = 100;

const rsaBitsMin = 2_048;
const kidCharactersMax = 256;

/**
 * The keys of a JSON Web Key Set, or of one public key in PEM. Keys of a kind that no allowed signature has are left out; a
 * secret, or the private half of a key, does not belong there and makes the set invalid. Never throws. @see RFC 7517 §5
 */
export function parseKeySet(text: string): KeySetResult {
  if (text.length > keySetBytesMax) return invalid(`it has more than ${keySetBytesMax} bytes`);
  if (text.trimStart().startsWith("-----BEGIN ")) return parsePem(text);
  const set = parseStrictObject(text);
  if (set === undefined) return invalid("it is neither a JSON object (with each key once) nor PEM");
  const { keys } = set;
  if (!Array.isArray(keys)) return invalid('it has no list "keys"');
  if (keys.length > keysMax) return invalid(`it has more than ${keysMax} keys`);
  const found: TokenKey[] = [];
  for (const [index, jwk] of keys.entries()) {
    const key = keyOf(jwk);
    if (typeof key === "string") return invalid(`keys[${index}] ${key}`);
    if (key === undefined) continue;
    if (key.kid !== undefined && found.some(({ kid }) => kid === key.kid))
      return invalid(`keys[${index}] has the key id of another`);
    found.push(key);
  }
  return found.length === 0
    ? invalid("it has no key for ES256, EdDSA, RS256 or PS256")
    : { kind: "keys", keys: found };
}

/** A key, what is wrong with it, or `undefined` for one of no use here. */
function keyOf(jwk: unknown): TokenKey | string | undefined {
  if (!isObject(jwk)) return "is no object";
  const { kid, use, key_ops: operations, alg } = jwk;
  if (jwk["kty"] === "oct" || jwk["k"] !== undefined) return "is a shared secret";
  if (jwk["d"] !== undefined) return "holds a private key";
  if (kid !== undefined && (typeof kid !== "string" || kid.length > kidCharactersMax))
    return "has a key id that is no text of at most 256 characters";
  if (use !== undefined && use !== "sig") return undefined;
  if (Array.isArray(operations) && !operations.includes("verify")) return undefined;
  if (jwk["kty"] !== "EC" && jwk["kty"] !== "OKP" && jwk["kty"] !== "RSA") return undefined;
  let key: KeyObject;
  try {
    const input: JsonWebKeyInput = { format: "jwk", key: jwk };
    key = createPublicKey(input);
  } catch {
    return "cannot be read";
  }
  const algorithms = algorithmsOf(key);
  if (typeof algorithms === "string") return algorithms;
  const allowed = alg === undefined ? algorithms : algorithms.filter((name) => name === alg);
  return allowed.length === 0 ? undefined : { kid, key, algorithms: allowed };
}

function algorithmsOf(key: KeyObject): readonly TokenAlgorithm[] | string {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const type = key.asymmetricKeyType;
  if (type === "ec") return namedCurve === "prime256v1" ? ["ES256"] : [];
  if (type === "ed25519") return ["EdDSA"];
  if (type !== "rsa") return [];
  return modulusLength < rsaBitsMin
    ? `is an RSA key of ${modulusLength} bits, fewer than ${rsaBitsMin}`
    : ["RS256", "PS256"];
}

function parsePem(text: string): KeySetResult {
  if (!/^\s*-----BEGIN (PUBLIC KEY|CERTIFICATE)-----/.test(text))
    return invalid("it is PEM, but neither a public key nor a certificate");
  let key: KeyObject;
  try {
    key = createPublicKey(text);
  } catch {
    return invalid("it is PEM that cannot be read");
  }
  const algorithms = algorithmsOf(key);
  if (typeof algorithms === "string") return invalid(`it ${algorithms}`);
  if (algorithms.length === 0) return invalid("its key is for none of ES256, EdDSA, RS256 and PS256");
  return { kind: "keys", keys: [{ kid: undefined, key, algorithms }] };
}

function invalid(problem: string): KeySetResult {
  return { kind: "invalid", problem };
}
