import { createPublicKey, hash, type KeyObject } from "node:crypto";

/** The keys a device may have. */
export type KeyType = "P-256" | "P-384" | "Ed25519";

interface Encoding {
  readonly type: KeyType;
  /** All of a SubjectPublicKeyInfo (DER) up to the key itself, a point always uncompressed: one key has one encoding. @see RFC 5480 §2, RFC 8410 §4 */
  readonly prefix: Buffer;
  readonly bytes: number;
}

const encodings: readonly Encoding[] = [
  {
    type: "P-256",
    prefix: Buffer.from("3059301306072a8648ce3d020106082a8648ce3d03010703420004", "hex"),
    bytes: 91,
  },
  {
    type: "P-384",
    prefix: Buffer.from("3076301006072a8648ce3d020106052b8104002203620004", "hex"),
    bytes: 120,
  },
  { type: "Ed25519", prefix: Buffer.from("302a300506032b6570032100", "hex"), bytes: 44 },
];

/**
 * Ed25519 keys of small order, the sign bit left out: for these anybody can make a signature that verifies.
 * @see RFC 8032 §5.1 and https://eprint.iacr.org/2020/1244 table 6 (and 0, 1 and -1 written with the prime added)
 */
const smallOrder: ReadonlySet<string> = new Set([
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]);

export interface PublicKey {
  readonly type: KeyType;
  readonly key: KeyObject;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** SHA-256 of `spki` in hexadecimal: the same for the same key wherever it appears. */
  readonly id: string;
}

/** What `decodePublicKey` accepts, for messages. */
export const keyRule = "P-256, P-384 (uncompressed, by name) or Ed25519";

function isSmallOrder(key: Uint8Array): boolean {
  const bytes = Buffer.from(key);
  bytes[31] = (bytes[31] ?? 0) & 0x7f;
  return smallOrder.has(bytes.toString("hex"));
}

/** The key in a SubjectPublicKeyInfo, or `undefined` when it is no key that a device may have: RSA, another curve, a point that is none. */
export function decodePublicKey(spki: Uint8Array): PublicKey | undefined {
  const found = encodings.find(
    ({ prefix, bytes }) => spki.length === bytes && prefix.equals(spki.subarray(0, prefix.length)),
  );
  if (found === undefined) return undefined;
  if (found.type === "Ed25519" && isSmallOrder(spki.subarray(found.prefix.length))) return undefined;
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    return { type: found.type, key, spki: Uint8Array.from(spki), id: keyIdOf(spki) };
  } catch {
    return undefined;
  }
}

/** SHA-256 of a SubjectPublicKeyInfo (DER) in hexadecimal. */
export function keyIdOf(spki: Uint8Array): string {
  return hash("sha256", spki, "hex");
}
