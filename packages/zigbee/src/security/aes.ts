/*
 * AES-128 (FIPS 197) with one table of 256 words for each direction. It is made for reading captures fast: its memory accesses
 * depend on the key, so whoever shares the processor's cache could learn from its timing. Keys of a live network belong to
 * node:crypto.
 *
 * A block is four big-endian words. Decryption uses the equivalent inverse cipher (FIPS 197 §5.3.5).
 */

const roundCount = 10;
const scheduleWords = 4 * (roundCount + 1);

const sbox = new Uint8Array(256);
const inverseSbox = new Uint8Array(256);
/** S-box and MixColumns of the first row; the other rows are rotations of it. */
const mixed = new Uint32Array(256);
const inverseMixed = new Uint32Array(256);

function doubled(value: number): number {
  return ((value << 1) ^ (value & 0x80 ? 0x11b : 0)) & 0xff;
}

function times(value: number, factor: number): number {
  let product = 0;
  for (let power = value, bits = factor; bits > 0; bits >>= 1, power = doubled(power)) {
    if (bits & 1) product ^= power;
  }
  return product;
}

function buildTables(): void {
  // 3 generates the multiplicative group: `value` and `inverse` walk it in opposite directions (FIPS 197 §5.1.1).
  let value = 1;
  let inverse = 1;
  do {
    value = times(value, 3);
    inverse = times(inverse, 0xf6);
    const rotations = inverse * 0x101;
    const substituted =
      (inverse ^ (rotations >> 4) ^ (rotations >> 5) ^ (rotations >> 6) ^ (rotations >> 7) ^ 0x63) & 0xff;
    sbox[value] = substituted;
  } while (value !== 1);
  sbox[0] = 0x63;
  for (let index = 0; index < 256; index++) {
    const to = sbox[index] ?? 0;
    inverseSbox[to] = index;
    mixed[index] = word(doubled(to), to, to, times(to, 3));
  }
  for (let index = 0; index < 256; index++) {
    const from = inverseSbox[index] ?? 0;
    inverseMixed[index] = word(times(from, 14), times(from, 9), times(from, 13), times(from, 11));
  }
}

function word(b0: number, b1: number, b2: number, b3: number): number {
  return ((b0 << 24) | (b1 << 16) | (b2 << 8) | b3) >>> 0;
}

buildTables();

/** A key expanded for use; holds the secret, so it is never printed. */
export interface AesKey {
  readonly encryption: Uint32Array;
  /** Made when first needed: few keys ever decrypt a block. */
  decryption: Uint32Array | undefined;
}

/** Expands a key. Throws `RangeError` unless it has 16 bytes. @see FIPS 197 §5.2 */
export function createAesKey(key: Uint8Array): AesKey {
  if (key.length !== 16) throw new RangeError(`an AES-128 key has 16 bytes, this one has ${key.length}`);
  const expanded: AesKey = { encryption: new Uint32Array(scheduleWords), decryption: undefined };
  expandWords(expanded, Uint32Array.of(wordAt(key, 0), wordAt(key, 4), wordAt(key, 8), wordAt(key, 12)));
  return expanded;
}

/** Expands the key of these four words in the place of another, for those who try many. */
export function expandWords(into: AesKey, key: Uint32Array): void {
  const words = into.encryption;
  into.decryption = undefined;
  words.set(key);
  let constant = 1;
  for (let index = 4; index < scheduleWords; index += 4) {
    const last = words[index - 1] ?? 0;
    const first = (words[index - 4] ?? 0) ^ substituted((last << 8) | (last >>> 24)) ^ (constant << 24);
    constant = doubled(constant);
    const second = first ^ (words[index - 3] ?? 0);
    const third = second ^ (words[index - 2] ?? 0);
    words[index] = first;
    words[index + 1] = second;
    words[index + 2] = third;
    words[index + 3] = third ^ last;
  }
}

function substituted(value: number): number {
  return word(
    sbox[value >>> 24] ?? 0,
    sbox[(value >>> 16) & 0xff] ?? 0,
    sbox[(value >>> 8) & 0xff] ?? 0,
    sbox[value & 0xff] ?? 0,
  );
}

function decryptionSchedule(encryption: Uint32Array): Uint32Array {
  const words = new Uint32Array(scheduleWords);
  for (let round = 0; round <= roundCount; round++) {
    for (let column = 0; column < 4; column++) {
      const value = encryption[4 * (roundCount - round) + column] ?? 0;
      words[4 * round + column] =
        round === 0 || round === roundCount ? value : inverseMixColumn(substituted(value));
    }
  }
  return words;
}

function inverseMixColumn(value: number): number {
  const a = inverseMixed[value >>> 24] ?? 0;
  const b = inverseMixed[(value >>> 16) & 0xff] ?? 0;
  const c = inverseMixed[(value >>> 8) & 0xff] ?? 0;
  const d = inverseMixed[value & 0xff] ?? 0;
  return (a ^ ((b >>> 8) | (b << 24)) ^ ((c >>> 16) | (c << 16)) ^ ((d >>> 24) | (d << 8))) >>> 0;
}

/** The big-endian word at `offset`; bytes that are not there count as 0. */
export function wordAt(bytes: Uint8Array, offset: number): number {
  return (
    ((bytes[offset] ?? 0) << 24) |
    ((bytes[offset + 1] ?? 0) << 16) |
    ((bytes[offset + 2] ?? 0) << 8) |
    (bytes[offset + 3] ?? 0)
  );
}

/** Encrypts the four words of `block` in place. @see FIPS 197 §5.1 */
export function encryptWords(key: AesKey, block: Uint32Array): void {
  const k = key.encryption;
  const t = mixed;
  let s0 = (block[0] ?? 0) ^ (k[0] ?? 0);
  let s1 = (block[1] ?? 0) ^ (k[1] ?? 0);
  let s2 = (block[2] ?? 0) ^ (k[2] ?? 0);
  let s3 = (block[3] ?? 0) ^ (k[3] ?? 0);
  for (let index = 4; index < 40; index += 4) {
    const n0 = mixedColumn(t, s0, s1, s2, s3) ^ (k[index] ?? 0);
    const n1 = mixedColumn(t, s1, s2, s3, s0) ^ (k[index + 1] ?? 0);
    const n2 = mixedColumn(t, s2, s3, s0, s1) ^ (k[index + 2] ?? 0);
    const n3 = mixedColumn(t, s3, s0, s1, s2) ^ (k[index + 3] ?? 0);
    s0 = n0;
    s1 = n1;
    s2 = n2;
    s3 = n3;
  }
  block[0] = lastColumn(sbox, s0, s1, s2, s3) ^ (k[40] ?? 0);
  block[1] = lastColumn(sbox, s1, s2, s3, s0) ^ (k[41] ?? 0);
  block[2] = lastColumn(sbox, s2, s3, s0, s1) ^ (k[42] ?? 0);
  block[3] = lastColumn(sbox, s3, s0, s1, s2) ^ (k[43] ?? 0);
}

function mixedColumn(table: Uint32Array, a: number, b: number, c: number, d: number): number {
  const y = table[(b >>> 16) & 0xff] ?? 0;
  const z = table[(c >>> 8) & 0xff] ?? 0;
  const w = table[d & 0xff] ?? 0;
  return (
    (table[a >>> 24] ?? 0) ^ ((y >>> 8) | (y << 24)) ^ ((z >>> 16) | (z << 16)) ^ ((w >>> 24) | (w << 8))
  );
}

function lastColumn(box: Uint8Array, a: number, b: number, c: number, d: number): number {
  return (
    ((box[a >>> 24] ?? 0) << 24) |
    ((box[(b >>> 16) & 0xff] ?? 0) << 16) |
    ((box[(c >>> 8) & 0xff] ?? 0) << 8) |
    (box[d & 0xff] ?? 0)
  );
}

/** Decrypts the four words of `block` in place. @see FIPS 197 §5.3.5 */
function decryptWords(key: AesKey, block: Uint32Array): void {
  const k = (key.decryption ??= decryptionSchedule(key.encryption));
  const t = inverseMixed;
  let s0 = (block[0] ?? 0) ^ (k[0] ?? 0);
  let s1 = (block[1] ?? 0) ^ (k[1] ?? 0);
  let s2 = (block[2] ?? 0) ^ (k[2] ?? 0);
  let s3 = (block[3] ?? 0) ^ (k[3] ?? 0);
  for (let index = 4; index < 40; index += 4) {
    const n0 = mixedColumn(t, s0, s3, s2, s1) ^ (k[index] ?? 0);
    const n1 = mixedColumn(t, s1, s0, s3, s2) ^ (k[index + 1] ?? 0);
    const n2 = mixedColumn(t, s2, s1, s0, s3) ^ (k[index + 2] ?? 0);
    const n3 = mixedColumn(t, s3, s2, s1, s0) ^ (k[index + 3] ?? 0);
    s0 = n0;
    s1 = n1;
    s2 = n2;
    s3 = n3;
  }
  block[0] = lastColumn(inverseSbox, s0, s3, s2, s1) ^ (k[40] ?? 0);
  block[1] = lastColumn(inverseSbox, s1, s0, s3, s2) ^ (k[41] ?? 0);
  block[2] = lastColumn(inverseSbox, s2, s1, s0, s3) ^ (k[42] ?? 0);
  block[3] = lastColumn(inverseSbox, s3, s2, s1, s0) ^ (k[43] ?? 0);
}

function transformed(
  key: AesKey,
  bytes: Uint8Array,
  transform: (key: AesKey, block: Uint32Array) => void,
): Uint8Array {
  if (bytes.length !== 16) throw new RangeError(`an AES block has 16 bytes, this one has ${bytes.length}`);
  const block = Uint32Array.of(wordAt(bytes, 0), wordAt(bytes, 4), wordAt(bytes, 8), wordAt(bytes, 12));
  transform(key, block);
  return Uint8Array.from({ length: 16 }, (_, index) => (block[index >> 2] ?? 0) >>> (24 - 8 * (index & 3)));
}

/** One block encrypted, as a new array. Throws `RangeError` unless it has 16 bytes. */
export function encryptBlock(key: AesKey, bytes: Uint8Array): Uint8Array {
  return transformed(key, bytes, encryptWords);
}

/** One block decrypted, as a new array. Throws `RangeError` unless it has 16 bytes. */
export function decryptBlock(key: AesKey, bytes: Uint8Array): Uint8Array {
  return transformed(key, bytes, decryptWords);
}
