import { createDecipheriv, createHash, createHmac, timingSafeEqual } from "node:crypto";

import { fwknopDigests, unpadded, type FwknopDigest } from "./digests.ts";

/** What fwknop cuts off the front: base64 of "Salted__", but for the last 4 bits. */
export const strippedPrefix = "U2FsdGVkX1";

/** Characters of a packet. */
export const wireCharactersMin = 36;
export const wireCharactersMax = 1500;

/** The first character that is sent holds the last 4 bits of "Salted__" and 2 bits of the salt. */
const wirePattern = /^[89+/][A-Za-z0-9+/]*$/;

const saltedBytes = 8;
const saltBytes = 8;
const blockBytes = 16;

/** The text of a datagram; `undefined` when fwknop never writes such a one. */
export function wireText(datagram: Uint8Array): string | undefined {
  if (datagram.length < wireCharactersMin || datagram.length > wireCharactersMax) return undefined;
  const text = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.length).toString("latin1");
  return wirePattern.test(text) ? text : undefined;
}

/**
 * The encrypted part of a packet whose HMAC is right, `undefined` otherwise. The HMAC is compared as it is written: of two
 * texts that decode to the same bytes only one counts, so that a packet cannot be replayed in another spelling.
 */
export function authenticated(
  wire: string,
  { hmacKey, hmacDigest }: { readonly hmacKey: Uint8Array; readonly hmacDigest: FwknopDigest },
): string | undefined {
  const { hash, characters } = fwknopDigests[hmacDigest];
  const encrypted = wire.slice(0, -characters);
  const expected = unpadded(createHmac(hash, hmacKey).update(`${strippedPrefix}${encrypted}`).digest());
  const found = wire.slice(-characters);
  if (found.length !== characters || encrypted === "") return undefined;
  return timingSafeEqual(Buffer.from(found), Buffer.from(expected)) ? encrypted : undefined;
}

/** Decrypts what `authenticated` let through; `undefined` when it does not decrypt with this key. */
export function decrypted(encrypted: string, passphrase: Uint8Array): string | undefined {
  const bytes = Buffer.from(`${strippedPrefix}${encrypted}`, "base64");
  const ciphertext = bytes.subarray(saltedBytes + saltBytes);
  if (ciphertext.length === 0 || ciphertext.length % blockBytes !== 0) return undefined;
  const salt = bytes.subarray(saltedBytes, saltedBytes + saltBytes);
  const { key, iv } = keyAndIv(passphrase, salt);
  const decipher = createDecipheriv("aes-256-cbc", key, iv);
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString("latin1");
  } catch {
    return undefined;
  }
}

/** OpenSSL's EVP_BytesToKey with MD5 and one iteration. */
export function keyAndIv(
  passphrase: Uint8Array,
  salt: Uint8Array,
): { readonly key: Buffer; readonly iv: Buffer } {
  const parts: Buffer[] = [];
  for (let part = 0; part < 3; part++) {
    const hash = createHash("md5");
    for (const bytes of [parts.at(-1) ?? Buffer.alloc(0), passphrase, salt]) hash.update(bytes);
    parts.push(hash.digest());
  }
  return { key: Buffer.concat(parts.slice(0, 2)), iv: parts[2] ?? Buffer.alloc(blockBytes) };
}
