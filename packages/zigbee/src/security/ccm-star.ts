import { type AesKey, encryptWords, wordAt } from "./aes.ts";
import { type SecurityLevel } from "./levels.ts";

/** The nonce of CCM* with a two-byte length field: source address, frame counter, one byte of level or control. */
export const nonceBytes = 13;

/**
 * What is to be opened, as it lies in the frame:
 *
 *     bytes  …│ header, auxiliary header │ payload │ MIC │…
 *             start                 payloadStart payloadEnd
 */
export interface CcmStarInput {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly payloadStart: number;
  /** The integrity code, if the level has one, begins here. */
  readonly payloadEnd: number;
  readonly nonce: Uint8Array;
  readonly level: SecurityLevel;
  /** A byte of the header that is authenticated with another value than it has in the frame; -1: none. */
  readonly patchOffset: number;
  readonly patchValue: number;
}

const block = new Uint32Array(4);
const firstKeyStream = new Uint32Array(4);
/** What CBC-MAC runs over: B0, length and authenticated data padded, payload padded. */
let chain = new Uint8Array(512);

function setCounterBlock(nonce: Uint8Array, flags: number, counter: number): void {
  block[0] = (flags << 24) | (wordAt(nonce, 0) >>> 8);
  block[1] = wordAt(nonce, 3);
  block[2] = wordAt(nonce, 7);
  block[3] = ((nonce[11] ?? 0) << 24) | ((nonce[12] ?? 0) << 16) | counter;
}

/** The counter block of `counter` as four words: encrypted, it is what payload block `counter` is encrypted with. */
export function setCounterWords(to: Uint32Array, nonce: Uint8Array, counter: number): void {
  setCounterBlock(nonce, 1, counter);
  to.set(block);
}

/** Turns `count` bytes of `from` into `to` with the key stream of the counters from 1 on; both ways. */
function applyKeyStream(
  key: AesKey,
  nonce: Uint8Array,
  from: Uint8Array,
  fromOffset: number,
  to: Uint8Array,
  count: number,
): void {
  for (let done = 0, counter = 1; done < count; counter++) {
    setCounterBlock(nonce, 1, counter);
    encryptWords(key, block);
    const last = Math.min(done + 16, count);
    for (let index = 0; done < last; done++, index++) {
      const stream = (block[index >> 2] ?? 0) >>> (24 - ((index & 3) << 3));
      to[done] = (from[fromOffset + done] ?? 0) ^ stream;
    }
  }
}

/** Leaves the integrity code, still to be encrypted, in `block`. */
function authenticate(
  key: AesKey,
  input: CcmStarInput,
  authenticatedEnd: number,
  plain: Uint8Array,
  plainBytes: number,
): void {
  const { bytes, start, nonce, patchOffset } = input;
  const authenticatedBytes = authenticatedEnd - start;
  const longest = 16 + 2 + authenticatedBytes + 15 + plainBytes + 15;
  if (chain.length < longest) chain = new Uint8Array(2 * longest);
  const text = chain;
  let length = 0;
  if (authenticatedBytes > 0) {
    text[0] = authenticatedBytes >> 8;
    text[1] = authenticatedBytes;
    length = 2;
    for (let from = start; from < authenticatedEnd; from++) text[length++] = bytes[from] ?? 0;
    if (patchOffset >= start && patchOffset < authenticatedEnd) {
      text[2 + patchOffset - start] = input.patchValue;
    }
    while (length & 15) text[length++] = 0;
  }
  for (let index = 0; index < plainBytes; index++) text[length++] = plain[index] ?? 0;
  while (length & 15) text[length++] = 0;
  const micField = (input.level.micBytes - 2) >> 1;
  setCounterBlock(nonce, (authenticatedBytes > 0 ? 0x40 : 0) | (micField << 3) | 1, plainBytes);
  encryptWords(key, block);
  for (let offset = 0; offset < length; offset += 16) {
    block[0] = (block[0] ?? 0) ^ wordAt(text, offset);
    block[1] = (block[1] ?? 0) ^ wordAt(text, offset + 4);
    block[2] = (block[2] ?? 0) ^ wordAt(text, offset + 8);
    block[3] = (block[3] ?? 0) ^ wordAt(text, offset + 12);
    encryptWords(key, block);
  }
}

/** Byte `index` of the integrity code of `block` under the key stream of counter 0. */
function micByte(index: number): number {
  const shift = 24 - ((index & 3) << 3);
  return (((block[index >> 2] ?? 0) ^ (firstKeyStream[index >> 2] ?? 0)) >>> shift) & 0xff;
}

function setFirstKeyStream(key: AesKey, nonce: Uint8Array): void {
  setCounterBlock(nonce, 1, 0);
  encryptWords(key, block);
  firstKeyStream.set(block);
}

/**
 * Opens what `input` describes and writes the payload to `output`, which has room for it. Returns the number of payload
 * bytes, or -1 when the integrity code is wrong or the frame is too short for it. A level without integrity code always
 * succeeds: that it made sense is for the caller to judge. Not for secrets of a live network: see aes.ts.
 * @see Zigbee Annex A, IEEE 802.15.4-2006 Annex B
 */
export function openCcmStar(key: AesKey, input: CcmStarInput, output: Uint8Array): number {
  const { bytes, start, payloadStart, payloadEnd, nonce, level } = input;
  const count = payloadEnd - payloadStart;
  const whole = start <= payloadStart && count >= 0 && payloadEnd + level.micBytes <= bytes.length;
  if (!whole || count > output.length || payloadEnd - start > 0xfeff) return -1;
  if (level.encrypted) applyKeyStream(key, nonce, bytes, payloadStart, output, count);
  else for (let index = 0; index < count; index++) output[index] = bytes[payloadStart + index] ?? 0;
  if (level.micBytes === 0) return count;
  setFirstKeyStream(key, nonce);
  if (level.encrypted) authenticate(key, input, payloadStart, output, count);
  else authenticate(key, input, payloadEnd, output, 0);
  for (let index = 0; index < level.micBytes; index++) {
    if (micByte(index) !== bytes[payloadEnd + index]) return -1;
  }
  return count;
}

/**
 * The first byte of a payload, opened without looking at its integrity code: a quarter of the work, enough to know whether
 * a frame is worth opening.
 */
export function peekCcmStar(key: AesKey, input: CcmStarInput): number {
  const first = input.bytes[input.payloadStart] ?? 0;
  if (!input.level.encrypted) return first;
  setCounterBlock(input.nonce, 1, 1);
  encryptWords(key, block);
  return first ^ ((block[0] ?? 0) >>> 24);
}

/**
 * Protects a payload: returns the payload as it is sent, encrypted if the level says so, followed by the integrity code.
 * `header` is authenticated only. Throws `RangeError` when a part is too long or the nonce has not 13 bytes.
 * @see Zigbee Annex A
 */
export function sealCcmStar(
  key: AesKey,
  input: {
    readonly header: Uint8Array;
    readonly payload: Uint8Array;
    readonly nonce: Uint8Array;
    readonly level: SecurityLevel;
  },
): Uint8Array {
  const { header, payload, nonce, level } = input;
  if (nonce.length !== nonceBytes) throw new RangeError(`a nonce has 13 bytes, this one has ${nonce.length}`);
  if (header.length + payload.length > 0xfeff) throw new RangeError("header and payload exceed 65,279 bytes");
  const bytes = new Uint8Array(header.length + payload.length);
  bytes.set(header);
  bytes.set(payload, header.length);
  const sealed = new Uint8Array(payload.length + level.micBytes);
  if (level.encrypted) applyKeyStream(key, nonce, payload, 0, sealed, payload.length);
  else sealed.set(payload);
  if (level.micBytes === 0) return sealed;
  setFirstKeyStream(key, nonce);
  const whole: CcmStarInput = {
    bytes,
    start: 0,
    payloadStart: header.length,
    payloadEnd: bytes.length,
    nonce,
    level,
    patchOffset: -1,
    patchValue: 0,
  };
  if (level.encrypted) authenticate(key, whole, header.length, payload, payload.length);
  else authenticate(key, whole, bytes.length, payload, 0);
  for (let index = 0; index < level.micBytes; index++) sealed[payload.length + index] = micByte(index);
  return sealed;
}
