import { createAesKey, encryptBlock } from "./aes.ts";

const blockBytes = 16;

/**
 * The Matyas-Meyer-Oseas hash over AES-128: 16 bytes. Inputs of 2^16 bits and more have the long form of the padding; from
 * 2^32 bits on it throws `RangeError`. @see Zigbee §B.6
 */
export function mmoHash(input: Uint8Array): Uint8Array {
  const bits = 8 * input.length;
  if (bits >= 2 ** 32) throw new RangeError(`the hash takes less than 2^32 bits, this input has ${bits}`);
  const tailBytes = bits < 2 ** 16 ? 2 : 6;
  const paddedBytes = Math.ceil((input.length + 1 + tailBytes) / blockBytes) * blockBytes;
  const padded = new Uint8Array(paddedBytes);
  padded.set(input);
  padded[input.length] = 0x80;
  const tail = new DataView(padded.buffer, paddedBytes - tailBytes);
  if (tailBytes === 2) tail.setUint16(0, bits);
  else tail.setUint32(0, bits);
  let hash = new Uint8Array(blockBytes);
  for (let offset = 0; offset < paddedBytes; offset += blockBytes) {
    const message = padded.subarray(offset, offset + blockBytes);
    const encrypted = encryptBlock(createAesKey(hash), message);
    hash = encrypted.map((byte, index) => byte ^ (message[index] ?? 0));
  }
  return hash;
}

/** The keyed hash: HMAC over the MMO hash with blocks of 16 bytes. @see Zigbee §B.1.4, FIPS 198 */
export function keyedHash(key: Uint8Array, input: Uint8Array): Uint8Array {
  const block = new Uint8Array(blockBytes);
  block.set(key.length > blockBytes ? mmoHash(key) : key);
  const inner = mmoHash(
    joined(
      block.map((byte) => byte ^ 0x36),
      input,
    ),
  );
  return mmoHash(
    joined(
      block.map((byte) => byte ^ 0x5c),
      inner,
    ),
  );
}

/** The parts one after the other, in a new array. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
