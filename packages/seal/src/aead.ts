import { createCipheriv, createDecipheriv, type KeyObject } from "node:crypto";

/** As OpenSSL calls them; all have a nonce of 12 bytes and a tag of 16. */
export type AeadCipher = "aes-128-gcm" | "aes-192-gcm" | "aes-256-gcm" | "chacha20-poly1305";

export const nonceBytes = 12;
export const tagBytes = 16;

const options = { authTagLength: tagBytes };

export interface AeadInput {
  readonly key: KeyObject | Uint8Array;
  readonly nonce: Uint8Array;
  readonly aad: Uint8Array;
}

/** @returns the ciphertext, the tag at its end. */
export function aeadSeal(name: AeadCipher, { key, nonce, aad }: AeadInput, plaintext: Uint8Array): Buffer {
  // Two branches for the types: one overload of `createCipheriv` for each family.
  const cipher =
    name === "chacha20-poly1305"
      ? createCipheriv(name, key, nonce, options)
      : createCipheriv(name, key, nonce, options);
  cipher.setAAD(aad, { plaintextLength: plaintext.length });
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** @returns `undefined` when anything of it is not what was sealed. */
export function aeadOpen(
  name: AeadCipher,
  { key, nonce, aad }: AeadInput,
  ciphertext: Uint8Array,
): Buffer | undefined {
  if (ciphertext.length < tagBytes) return undefined;
  const decipher =
    name === "chacha20-poly1305"
      ? createDecipheriv(name, key, nonce, options)
      : createDecipheriv(name, key, nonce, options);
  decipher.setAAD(aad, { plaintextLength: ciphertext.length - tagBytes });
  decipher.setAuthTag(ciphertext.subarray(ciphertext.length - tagBytes));
  const plaintext = decipher.update(ciphertext.subarray(0, ciphertext.length - tagBytes));
  try {
    decipher.final();
    return plaintext;
  } catch {
    return undefined;
  }
}

/** The nonce of one message: `base` with the number XORed into its last 6 bytes. @see RFC 9052 §5.2, RFC 9180 §5.2 */
export function numberedNonce(base: Uint8Array, number: number): Buffer {
  const nonce = Buffer.from(base);
  const high = Math.floor(number / 2 ** 32);
  nonce.writeUInt16BE(nonce.readUInt16BE(nonceBytes - 6) ^ high, nonceBytes - 6);
  nonce.writeUInt32BE((nonce.readUInt32BE(nonceBytes - 4) ^ number) >>> 0, nonceBytes - 4);
  return nonce;
}
