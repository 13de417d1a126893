import { decodeCbor } from "../cbor/decode.ts";
import { CborWriter } from "../cbor/encode.ts";
import { majorType, type CborKey, type CborMap, type CborValue } from "../cbor/value.ts";
import { issuedAtClaim, label, sign1ContentFormat } from "../cose/registry.ts";
import { instanceBytes, sequenceMax, type Position } from "./position.ts";

export const senderBytesMax = 256;
const epochMax = 0xffff_ffff;

/** What every sealed payload says of itself, all of it protected: by checksum, MAC, signature or encryption. */
export interface Header extends Position {
  /** The number of the algorithm. @see RFC 9053 */
  readonly algorithm: number;
  /** Whether what is encrypted is a signature around the payload. */
  readonly holdsSignature: boolean;
  readonly sender: string;
  readonly epoch: number;
  /** When it was sealed, in seconds since 1970, where the sender says so. */
  readonly sealedAtSeconds: number | undefined;
}

/** `{1: algorithm, ?3: 18, 4: << [epoch, sender, instance] >>, 6: sequence, ?15: {6: time}}` */
export function encodeHeader(header: Header): Buffer {
  const { sealedAtSeconds } = header;
  const kid = new CborWriter();
  kid.head(majorType.array, 3);
  kid.integer(header.epoch);
  kid.text(header.sender);
  kid.bytes(header.instance);
  const writer = new CborWriter();
  writer.head(majorType.map, 3 + (header.holdsSignature ? 1 : 0) + (sealedAtSeconds === undefined ? 0 : 1));
  writer.integer(label.alg);
  writer.integer(header.algorithm);
  if (header.holdsSignature) {
    writer.integer(label.contentType);
    writer.integer(sign1ContentFormat);
  }
  writer.integer(label.kid);
  writer.bytes(kid.finish());
  writer.integer(label.partialIv);
  writer.bytes(sequenceBytes(header.sequence));
  if (sealedAtSeconds !== undefined) {
    writer.integer(label.cwtClaims);
    writer.head(majorType.map, 1);
    writer.integer(issuedAtClaim);
    writer.integer(sealedAtSeconds);
  }
  return writer.finish();
}

/** @returns what is wrong, as a text, when it is no header of ours. Never throws. */
export function decodeHeader(bytes: Uint8Array): Header | string {
  const decoded = decodeCbor(bytes);
  if (decoded.kind === "malformed") return `the header is not deterministic CBOR: ${decoded.reason}`;
  if (!(decoded.value instanceof Map)) return "the header is not a map";
  const map: CborMap = decoded.value;
  const algorithm = map.get(label.alg);
  const contentType = map.get(label.contentType);
  const partialIv = map.get(label.partialIv);
  const claims = map.get(label.cwtClaims);
  if (typeof algorithm !== "number") return "the header names no algorithm";
  if (contentType !== undefined && contentType !== sign1ContentFormat)
    return "the header has a content type that we do not know";
  const sequence = partialIv instanceof Uint8Array ? readSequence(partialIv) : undefined;
  if (sequence === undefined) return "the header has no sequence number";
  const kid = decodeKid(map.get(label.kid));
  if (kid === undefined) return "the header has no epoch, sender and instance";
  const sealedAtSeconds = claims === undefined ? undefined : readTime(claims);
  if (claims !== undefined && sealedAtSeconds === undefined) return "the header has a time that is none";
  const known = 3 + (contentType === undefined ? 0 : 1) + (claims === undefined ? 0 : 1);
  if (map.size !== known) return "the header has parameters that we do not know";
  return { algorithm, holdsSignature: contentType !== undefined, sequence, ...kid, sealedAtSeconds };
}

function decodeKid(kid: CborValue): Pick<Header, "epoch" | "sender" | "instance"> | undefined {
  if (!(kid instanceof Uint8Array)) return undefined;
  const decoded = decodeCbor(kid);
  if (decoded.kind === "malformed" || !Array.isArray(decoded.value)) return undefined;
  const [epoch, sender, instance, ...more]: readonly CborValue[] = decoded.value;
  if (typeof epoch !== "number" || epoch < 0 || epoch > epochMax) return undefined;
  if (typeof sender !== "string" || !isSender(sender)) return undefined;
  if (!(instance instanceof Uint8Array) || instance.length !== instanceBytes || more.length > 0)
    return undefined;
  return { epoch, sender, instance };
}

/** Whether a text may name a sender: 1 to 256 bytes without control characters. */
export function isSender(text: string): boolean {
  const bytes = Buffer.byteLength(text);
  // oxlint-disable-next-line no-control-regex
  return bytes > 0 && bytes <= senderBytesMax && !/[\u0000-\u001f\u007f-\u009f]/u.test(text);
}

/** Throws `RangeError` unless it can be the epoch of a key. */
export function requireEpoch(epoch: number): void {
  if (!Number.isInteger(epoch) || epoch < 0 || epoch > epochMax) {
    throw new RangeError(`${epoch} is not an epoch from 0 to ${epochMax}`);
  }
}

/** Big-endian without leading zeros, one byte at least. */
function sequenceBytes(sequence: number): Buffer {
  let bytes = 1;
  while (sequence >= 256 ** bytes) bytes++;
  const buffer = Buffer.allocUnsafe(bytes);
  buffer.writeUIntBE(sequence, 0, bytes);
  return buffer;
}

function readSequence(bytes: Uint8Array): number | undefined {
  if (bytes.length === 0 || bytes.length > 6 || (bytes.length > 1 && bytes[0] === 0)) return undefined;
  const sequence = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readUIntBE(0, bytes.length);
  return sequence <= sequenceMax ? sequence : undefined;
}

function readTime(claims: CborValue): number | undefined {
  if (!(claims instanceof Map)) return undefined;
  const map: ReadonlyMap<CborKey, CborValue> = claims;
  const time = map.get(issuedAtClaim);
  return map.size === 1 && typeof time === "number" && time >= 0 ? time : undefined;
}
