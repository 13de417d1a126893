import { createHash, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";

import { kems } from "../hpke/suite.ts";

/** All of a PKCS #8 X25519 key up to the key itself. @see RFC 8410 §7 */
const pkcs8Prefix = Buffer.from("302e020100300506032b656e04220420", "hex");

const prime = 2n ** 255n - 19n;

/**
 * The X25519 key of an Ed25519 public key: `u = (1 + y) / (1 - y)`. Throws `TypeError` for what is no point but the neutral one.
 * @see RFC 7748 §4.1, and https://eprint.iacr.org/2021/509 for why one key may serve both
 */
export function montgomeryPublicKey(key: KeyObject): KeyObject {
  const spki = key.export({ type: "spki", format: "der" });
  const y = littleEndian(spki.subarray(-32)) & (2n ** 255n - 1n);
  if (y % prime === 1n) throw new TypeError("the Ed25519 key is the neutral point, which is nobody's");
  const u = modulo((1n + y) * inverse(modulo(1n - y)));
  const raw = Buffer.from(u.toString(16).padStart(64, "0"), "hex").toReversed();
  return createPublicKey({ key: Buffer.concat([kems.X25519.spkiPrefix, raw]), format: "der", type: "spki" });
}

/** The X25519 key of an Ed25519 private key: the first half of the SHA-512 of its seed. @see RFC 8032 §5.1.5 */
export function montgomeryPrivateKey(key: KeyObject): KeyObject {
  const seed = key.export({ type: "pkcs8", format: "der" }).subarray(-32);
  const scalar = createHash("sha512").update(seed).digest().subarray(0, 32);
  return createPrivateKey({ key: Buffer.concat([pkcs8Prefix, scalar]), format: "der", type: "pkcs8" });
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes.toReversed()).toString("hex")}`);
}

function modulo(value: bigint): bigint {
  const rest = value % prime;
  return rest < 0n ? rest + prime : rest;
}

/** By Fermat: not in constant time, for public keys only. */
function inverse(value: bigint): bigint {
  let result = 1n;
  let power = value;
  for (let exponent = prime - 2n; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * power) % prime;
    power = (power * power) % prime;
  }
  return result;
}
