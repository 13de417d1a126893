import { createHmac } from "node:crypto";

const version = Buffer.from("HPKE-v1", "latin1");
const hashBytes = 32;

/** LabeledExtract with SHA-256. @see RFC 9180 §4, RFC 5869 §2.2 */
export function labeledExtract(
  suiteId: Uint8Array,
  { salt, label, ikm }: { readonly salt: Uint8Array; readonly label: string; readonly ikm: Uint8Array },
): Buffer {
  return createHmac("sha256", salt)
    .update(version)
    .update(suiteId)
    .update(label, "latin1")
    .update(ikm)
    .digest();
}

/** LabeledExpand with SHA-256. @see RFC 9180 §4, RFC 5869 §2.3 */
export function labeledExpand(
  suiteId: Uint8Array,
  options: {
    readonly prk: Uint8Array;
    readonly label: string;
    readonly info: Uint8Array;
    readonly bytes: number;
  },
): Buffer {
  const { prk, label, info, bytes } = options;
  const length = Buffer.allocUnsafe(2);
  length.writeUInt16BE(bytes);
  const blocks: Buffer[] = [];
  let block: Buffer = Buffer.alloc(0);
  for (let index = 1; blocks.length * hashBytes < bytes; index++) {
    block = createHmac("sha256", prk)
      .update(block)
      .update(length)
      .update(version)
      .update(suiteId)
      .update(label, "latin1")
      .update(info)
      .update(Buffer.of(index))
      .digest();
    blocks.push(block);
  }
  return (blocks.length === 1 ? block : Buffer.concat(blocks)).subarray(0, bytes);
}
