import { CborWriter } from "../cbor/encode.ts";
import { majorType } from "../cbor/value.ts";

/**
 * What a sealed payload belongs to: it opens for nothing else, so that nobody can move it. QoS, retain flag and packet identifier are
 * not part of it: they change on the way.
 */
export interface Binding {
  readonly tenant: string;
  /** The full name of the topic, never an alias. */
  readonly topic: string;
  /** The device that seals. */
  readonly sender: string;
  /** The epoch of the key. */
  readonly epoch: number;
}

const version = 1;

/** The first bytes of a byte string below 4 GB. */
const itemBytesMax = 5;

/**
 * The `external_aad` of all structures: `[1, tenant, topic, sender, epoch]`. More items follow where something else is to be covered:
 * the keys for all recipients by what is encrypted to them; the header around it, and these keys, by a signature within, else one who
 * can read it could seal it again as a new message or for others. @see RFC 9052 §4.3
 */
export function encodeBinding(binding: Binding, more: readonly Uint8Array[] = []): Buffer {
  const writer = new CborWriter();
  writer.head(majorType.array, 5 + more.length);
  writer.integer(version);
  writer.text(binding.tenant);
  writer.text(binding.topic);
  writer.text(binding.sender);
  writer.integer(binding.epoch);
  for (const each of more) writer.bytes(each);
  return writer.finish();
}

/** Sig_structure, MAC_structure or Enc_structure: what is signed, authenticated or given as associated data. @see RFC 9052 §4.4, §6.3, §5.3 */
export function coseStructure(
  context: "Signature1" | "MAC0" | "Encrypt0" | "Encrypt" | "Checksum",
  parts: readonly Uint8Array[],
): Buffer {
  const writer = new CborWriter(parts.reduce((bytes, part) => bytes + part.length + itemBytesMax, 16));
  writer.head(majorType.array, 1 + parts.length);
  writer.text(context);
  for (const part of parts) writer.bytes(part);
  return writer.finish();
}
