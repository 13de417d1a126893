import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  timingSafeEqual,
  verify,
  type KeyObject,
} from "node:crypto";

import { aeadOpen, tagBytes, type AeadCipher, type AeadInput } from "../aead.ts";

/** Checks of one algorithm each. What has to do with the key's kind or length makes it say no. */
type VerifySignature = (key: KeyObject, data: Uint8Array, signature: Uint8Array) => boolean;

interface MacAlgorithm {
  /** 0 where a key of any length will do. */
  readonly keyBytes: number;
  readonly compute: (key: KeyObject, data: Uint8Array) => Uint8Array;
}

interface ContentAlgorithm {
  readonly keyBytes: number;
  readonly nonceBytes: number;
  readonly open: (input: AeadInput, ciphertext: Uint8Array) => Buffer | undefined;
}

function ecdsa(hash: string): VerifySignature {
  return (key, data, signature) =>
    key.asymmetricKeyType === "ec" && verify(hash, data, { key, dsaEncoding: "ieee-p1363" }, signature);
}

function eddsa(...types: readonly string[]): VerifySignature {
  return (key, data, signature) =>
    types.includes(key.asymmetricKeyType ?? "") && verify(null, data, key, signature);
}

function rsaPss(hash: string): VerifySignature {
  return (key, data, signature) =>
    key.asymmetricKeyType === "rsa" &&
    verify(
      hash,
      data,
      { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
      signature,
    );
}

/** @see RFC 9053 §2, RFC 9864 §2, RFC 8230 §2 */
export const signatureAlgorithms: ReadonlyMap<unknown, VerifySignature> = new Map([
  [-7, ecdsa("sha256")],
  [-35, ecdsa("sha384")],
  [-36, ecdsa("sha512")],
  [-9, ecdsa("sha256")],
  [-51, ecdsa("sha384")],
  [-52, ecdsa("sha512")],
  [-8, eddsa("ed25519", "ed448")],
  [-19, eddsa("ed25519")],
  [-53, eddsa("ed448")],
  [-37, rsaPss("sha256")],
  [-38, rsaPss("sha384")],
  [-39, rsaPss("sha512")],
]);

function hmac(hash: string, keyBytes: number, bytes: number): MacAlgorithm {
  return { keyBytes, compute: (key, data) => createHmac(hash, key).update(data).digest().subarray(0, bytes) };
}

/** The last block of AES-CBC with a zero IV and zero padding. @see RFC 9053 §3.2 */
function aesMac(keyBytes: 16 | 32, bytes: number): MacAlgorithm {
  const compute = (key: KeyObject, data: Uint8Array): Uint8Array => {
    const cipher = createCipheriv(`aes-${8 * keyBytes}-cbc`, key, Buffer.alloc(16)).setAutoPadding(false);
    const padded = Buffer.concat([data, Buffer.alloc((16 - (data.length % 16)) % 16)]);
    return cipher.update(padded).subarray(-16).subarray(0, bytes);
  };
  return { keyBytes, compute };
}

/** @see RFC 9053 §3 */
export const macAlgorithms: ReadonlyMap<unknown, MacAlgorithm> = new Map([
  [4, hmac("sha256", 32, 8)],
  [5, hmac("sha256", 32, 32)],
  [6, hmac("sha384", 48, 48)],
  [7, hmac("sha512", 64, 64)],
  [14, aesMac(16, 8)],
  [15, aesMac(32, 8)],
  [25, aesMac(16, 16)],
  [26, aesMac(32, 16)],
]);

function aead(cipher: AeadCipher, keyBytes: number): ContentAlgorithm {
  return { keyBytes, nonceBytes: 12, open: (input, ciphertext) => aeadOpen(cipher, input, ciphertext) };
}

function ccm(keyBytes: 16 | 32, nonceBytes: number, authTagLength: number): ContentAlgorithm {
  const cipher = keyBytes === 16 ? "aes-128-ccm" : "aes-256-ccm";
  const open = ({ key, nonce, aad }: AeadInput, ciphertext: Uint8Array): Buffer | undefined => {
    const plaintextLength = ciphertext.length - authTagLength;
    if (plaintextLength < 0) return undefined;
    const decipher = createDecipheriv(cipher, key, nonce, { authTagLength });
    decipher.setAuthTag(ciphertext.subarray(plaintextLength));
    decipher.setAAD(aad, { plaintextLength });
    try {
      const plaintext = decipher.update(ciphertext.subarray(0, plaintextLength));
      decipher.final();
      return plaintext;
    } catch {
      return undefined;
    }
  };
  return { keyBytes, nonceBytes, open };
}

/** @see RFC 9053 §4 */
export const contentAlgorithms: ReadonlyMap<unknown, ContentAlgorithm> = new Map([
  [1, aead("aes-128-gcm", 16)],
  [2, aead("aes-192-gcm", 24)],
  [3, aead("aes-256-gcm", 32)],
  [24, aead("chacha20-poly1305", 32)],
  [10, ccm(16, 13, 8)],
  [11, ccm(32, 13, 8)],
  [12, ccm(16, 7, 8)],
  [13, ccm(32, 7, 8)],
  [30, ccm(16, 13, tagBytes)],
  [31, ccm(32, 13, tagBytes)],
  [32, ccm(16, 7, tagBytes)],
  [33, ccm(32, 7, tagBytes)],
]);

/** AES key unwrap. @returns `undefined` when it was not wrapped with this key. @see RFC 3394 */
export function unwrapKey(wrappingKey: Uint8Array, wrapped: Uint8Array): Buffer | undefined {
  if (![16, 24, 32].includes(wrappingKey.length) || wrapped.length < 24 || wrapped.length % 8 !== 0)
    return undefined;
  const decipher = createDecipheriv(
    `id-aes${8 * wrappingKey.length}-wrap`,
    wrappingKey,
    Buffer.alloc(8, 0xa6),
  );
  try {
    return Buffer.concat([decipher.update(wrapped), decipher.final()]);
  } catch {
    return undefined;
  }
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
