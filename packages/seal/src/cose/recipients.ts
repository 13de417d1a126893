import { createPublicKey, diffieHellman, ECDH, hkdfSync, type KeyObject } from "node:crypto";

import { encodeCbor } from "../cbor/encode.ts";
import type { CborValue } from "../cbor/value.ts";
import { hpkeRecipient } from "../hpke/hpke.ts";
import type { HpkeSuite } from "../hpke/suite.ts";
import { unwrapKey } from "./algorithms.ts";
import { isMap, parameter, type CoseRecipient } from "./message.ts";
import { label } from "./registry.ts";

/** What the key that a recipient gets is for. */
export interface KeyPurpose {
  /** The number of the content's algorithm. */
  readonly algorithm: number;
  /** Of the key that it takes. */
  readonly keyBytes: number;
}

export interface RecipientOptions {
  /** The public key of the sender, for ECDH with a static key that the message only names. */
  readonly sender?: KeyObject | undefined;
  /** Who both are, where the message does not say it. @see RFC 9053 §5.2 */
  readonly partyUIdentity?: Uint8Array | undefined;
  readonly partyVIdentity?: Uint8Array | undefined;
  /** What both take into the derivation of the key besides (SuppPubInfo.other). @see RFC 9053 §5.2 */
  readonly publicInfo?: Uint8Array | undefined;
  /** SuppPrivInfo, a secret that both have. @see RFC 9053 §5.2 */
  readonly privateInfo?: Uint8Array | undefined;
  /** What both take into HPKE besides. @see draft-ietf-cose-hpke §3.2.1 */
  readonly extraInfo?: Uint8Array;
}

/** How the content's key is had, by the number of the recipient's algorithm. @see RFC 9053 §6, draft-ietf-cose-hpke §6 */
type Method =
  | { readonly how: "direct" }
  | { readonly how: "derive"; readonly hash: "sha256" | "sha512" }
  | { readonly how: "unwrap"; readonly keyBytes: number }
  | { readonly how: "agree"; readonly hash: "sha256" | "sha512"; readonly wrap: Wrap | undefined }
  | { readonly how: "hpke"; readonly suite: HpkeSuite };

interface Wrap {
  readonly algorithm: number;
  readonly keyBytes: number;
}

const [a128kw, a192kw, a256kw]: readonly [Wrap, Wrap, Wrap] = [
  { algorithm: -3, keyBytes: 16 },
  { algorithm: -4, keyBytes: 24 },
  { algorithm: -5, keyBytes: 32 },
];

function agree(hash: "sha256" | "sha512", wrap?: Wrap): Method {
  return { how: "agree", hash, wrap };
}

const methods: ReadonlyMap<unknown, Method> = new Map<unknown, Method>([
  [-6, { how: "direct" }],
  [-10, { how: "derive", hash: "sha256" }],
  [-11, { how: "derive", hash: "sha512" }],
  [-3, { how: "unwrap", keyBytes: 16 }],
  [-4, { how: "unwrap", keyBytes: 24 }],
  [-5, { how: "unwrap", keyBytes: 32 }],
  // Ephemeral, then static: the sender's key is looked for in the same way.
  [-25, agree("sha256")],
  [-26, agree("sha512")],
  [-27, agree("sha256")],
  [-28, agree("sha512")],
  [-29, agree("sha256", a128kw)],
  [-30, agree("sha256", a192kw)],
  [-31, agree("sha256", a256kw)],
  [-32, agree("sha256", a128kw)],
  [-33, agree("sha256", a192kw)],
  [-34, agree("sha256", a256kw)],
  [46, { how: "hpke", suite: { kem: "P-256", aead: "AES-128-GCM" } }],
  [49, { how: "hpke", suite: { kem: "X25519", aead: "AES-128-GCM" } }],
  [50, { how: "hpke", suite: { kem: "X25519", aead: "ChaCha20-Poly1305" } }],
  [53, { how: "hpke", suite: { kem: "P-256", aead: "AES-256-GCM" } }],
]);

/** @returns the content's key; `unknown-algorithm`, or `wrong-key` when this key is not the recipient's. */
export function contentKeyOf(
  recipient: CoseRecipient,
  key: KeyObject,
  purpose: KeyPurpose,
  options: RecipientOptions,
): Uint8Array | "unknown-algorithm" | "wrong-key" {
  const method = methods.get(parameter(recipient, label.alg));
  if (method === undefined) return "unknown-algorithm";
  try {
    return keyBy(method, { recipient, key, purpose, options }) ?? "wrong-key";
  } catch {
    // A key of another kind or curve than the message is for.
    return "wrong-key";
  }
}

interface Job {
  readonly recipient: CoseRecipient;
  readonly key: KeyObject;
  readonly purpose: KeyPurpose;
  readonly options: RecipientOptions;
}

function keyBy(method: Method, job: Job): Uint8Array | undefined {
  const { recipient, key, purpose, options } = job;
  switch (method.how) {
    case "direct":
      return secretOf(key);
    case "derive":
      return derive(secretOf(key), method.hash, purpose, job);
    case "unwrap": {
      const secret = secretOf(key);
      return secret.length === method.keyBytes ? unwrapKey(secret, recipient.ciphertext) : undefined;
    }
    case "agree": {
      const sender = senderKey(recipient) ?? options.sender;
      if (sender === undefined) return undefined;
      const shared = diffieHellman({ privateKey: key, publicKey: sender });
      if (method.wrap === undefined) return derive(shared, method.hash, purpose, job);
      return unwrapKey(derive(shared, method.hash, method.wrap, job), recipient.ciphertext);
    }
    case "hpke": {
      const enc = parameter(recipient, label.ek);
      if (!(enc instanceof Uint8Array)) return undefined;
      const structure = [
        "HPKE Recipient",
        purpose.algorithm,
        recipient.protectedBytes,
        options.extraInfo ?? Buffer.alloc(0),
      ];
      const context = hpkeRecipient({
        suite: method.suite,
        enc,
        recipient: key,
        info: encodeCbor(structure),
      });
      return context?.open(recipient.ciphertext);
    }
  }
}

function secretOf(key: KeyObject): Buffer {
  if (key.type !== "secret") throw new TypeError("the recipient has a secret key");
  return key.export();
}

const saltLabel = -20;

/** HKDF with COSE_KDF_Context. @see RFC 9053 §5.1, §5.2 */
function derive(
  secret: Uint8Array,
  hash: "sha256" | "sha512",
  { algorithm, keyBytes }: KeyPurpose,
  job: Job,
): Buffer {
  const { recipient, options } = job;
  const party = (first: number, identity: Uint8Array | undefined): CborValue => [
    parameter(recipient, first) ?? identity ?? null,
    parameter(recipient, first - 1) ?? null,
    parameter(recipient, first - 2) ?? null,
  ];
  const context: CborValue[] = [
    algorithm,
    party(-21, options.partyUIdentity),
    party(-24, options.partyVIdentity),
    [
      8 * keyBytes,
      recipient.protectedBytes,
      ...(options.publicInfo === undefined ? [] : [options.publicInfo]),
    ],
  ];
  if (options.privateInfo !== undefined) context.push(options.privateInfo);
  const salt = parameter(recipient, saltLabel);
  const info = encodeCbor(context);
  return Buffer.from(hkdfSync(hash, secret, salt instanceof Uint8Array ? salt : "", info, keyBytes));
}

/** The ephemeral or static key of the sender, as it is in the header (-1, -2). @see RFC 9053 §6.3.1 */
function senderKey(recipient: CoseRecipient): KeyObject | undefined {
  const found = parameter(recipient, -1) ?? parameter(recipient, -2);
  return isMap(found) ? publicKeyFrom(found) : undefined;
}

const curves: ReadonlyMap<
  unknown,
  { readonly kty: "EC" | "OKP"; readonly crv: string; readonly openssl: string }
> = new Map([
  [1, { kty: "EC", crv: "P-256", openssl: "prime256v1" }],
  [2, { kty: "EC", crv: "P-384", openssl: "secp384r1" }],
  [3, { kty: "EC", crv: "P-521", openssl: "secp521r1" }],
  [4, { kty: "OKP", crv: "X25519", openssl: "" }],
  [5, { kty: "OKP", crv: "X448", openssl: "" }],
  [6, { kty: "OKP", crv: "Ed25519", openssl: "" }],
  [7, { kty: "OKP", crv: "Ed448", openssl: "" }],
] as const);

/** A public COSE_Key. @returns `undefined` for a kind that we do not know; throws for one that is none. @see RFC 9053 §7 */
export function publicKeyFrom(coseKey: ReadonlyMap<unknown, CborValue>): KeyObject | undefined {
  const curve = curves.get(coseKey.get(-1));
  const x = coseKey.get(-2);
  const y = coseKey.get(-3);
  if (curve === undefined || !(x instanceof Uint8Array)) return undefined;
  const { kty, crv } = curve;
  if (kty === "OKP") return createPublicKey({ key: { kty, crv, x: base64url(x) }, format: "jwk" });
  const point =
    y instanceof Uint8Array ? { x, y } : typeof y === "boolean" ? uncompress(curve.openssl, x, y) : undefined;
  if (point === undefined) return undefined;
  return createPublicKey({ key: { kty, crv, x: base64url(point.x), y: base64url(point.y) }, format: "jwk" });
}

function uncompress(
  curve: string,
  x: Uint8Array,
  odd: boolean,
): { readonly x: Uint8Array; readonly y: Uint8Array } | undefined {
  const compressed = Buffer.concat([Buffer.of(odd ? 3 : 2), x]);
  const point = ECDH.convertKey(compressed, curve, undefined, undefined, "uncompressed");
  if (!(point instanceof Uint8Array)) return undefined;
  const bytes = (point.length - 1) / 2;
  return { x: point.subarray(1, 1 + bytes), y: point.subarray(1 + bytes) };
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
