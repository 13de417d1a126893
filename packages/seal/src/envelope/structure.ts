import { decodeCbor } from "../cbor/decode.ts";
import { CborTagged, type CborKey, type CborValue } from "../cbor/value.ts";
import { algorithm, coseTag, label } from "../cose/registry.ts";
import { keyIdBytes } from "../keys/recipient.ts";
import { decodeHeader, type Header } from "./header.ts";

/** How a payload is protected, from the weakest to the strongest. */
export const sealModes = ["checksum", "mac", "signed", "encrypted", "signed+encrypted"] as const;
export type SealMode = (typeof sealModes)[number];

/** Devices that one message can be encrypted to: each takes about 140 bytes and half a millisecond. */
export const recipientsMax = 64;

/** The key of a message as it is encrypted to one recipient. */
export interface SealedKey {
  /** The protected header, `{1: algorithm}`. */
  readonly header: Uint8Array;
  readonly algorithm: number;
  readonly keyId: Uint8Array;
  readonly enc: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/** What is seen of a sealed payload without any key. Nothing of it is proved. */
export interface Structure {
  readonly mode: SealMode;
  readonly header: Header;
  /** The header as it was sent, which is what is protected. */
  readonly headerBytes: Uint8Array;
  /** The payload, or what it was encrypted to. */
  readonly content: Uint8Array;
  /** Hash, MAC or signature; empty where the content is encrypted. */
  readonly proof: Uint8Array;
  /** Where it is encrypted to recipients and not with the key of a group. */
  readonly recipients: readonly SealedKey[] | undefined;
}

export type StructureResult =
  | { readonly kind: "sealed"; readonly structure: Structure }
  | { readonly kind: "not-sealed" | "malformed" | "unknown-algorithm"; readonly reason: string };

/** First bytes of what we seal: an array of four, tags 16 to 18, a tag of one byte. */
const firstBytes: ReadonlySet<number | undefined> = new Set([0x84, 0xd0, 0xd1, 0xd2, 0xd8]);

/**
 * Looks at a payload without a key: which mode, which sender, epoch and sequence it claims. Costs some microseconds. Never throws.
 * `not-sealed` is what does not even begin like a sealed payload, such as plain text.
 */
export function structureOf(payload: Uint8Array): StructureResult {
  if (!firstBytes.has(payload[0]))
    return { kind: "not-sealed", reason: "it does not begin like a sealed payload" };
  const decoded = decodeCbor(payload);
  if (decoded.kind === "malformed")
    return { kind: "malformed", reason: `it is not deterministic CBOR: ${decoded.reason}` };
  const tag = decoded.value instanceof CborTagged ? decoded.value.tag : undefined;
  const form = forms.find((each) => each.tag === tag);
  if (form === undefined) return malformed(`tag ${tag} is none that payloads are sealed with`);
  const items = decoded.value instanceof CborTagged ? decoded.value.value : decoded.value;
  if (!isArray(items) || items.length !== form.items)
    return malformed("it is not an array of the right length");
  const [headerBytes, unprotected, content, last] = items;
  if (!(headerBytes instanceof Uint8Array)) return malformed("its protected header is not a byte string");
  if (!(unprotected instanceof Map) || unprotected.size > 0) return malformed("it has an unprotected header");
  if (!(content instanceof Uint8Array)) return malformed("its content is not a byte string");
  const header = decodeHeader(headerBytes);
  if (typeof header === "string") return malformed(header);
  if (!form.algorithms.includes(header.algorithm)) {
    return {
      kind: "unknown-algorithm",
      reason: `${form.mode} with algorithm ${header.algorithm} is not known`,
    };
  }
  if (header.holdsSignature && form.mode !== "encrypted")
    return malformed("only what is encrypted can hold a signature");
  const recipients = form.tag === coseTag.encrypt ? recipientsOf(last) : undefined;
  if (typeof recipients === "string") return malformed(recipients);
  if (form.mode !== "encrypted" && !(last instanceof Uint8Array))
    return malformed("its proof is not a byte string");
  return {
    kind: "sealed",
    structure: {
      mode: header.holdsSignature ? "signed+encrypted" : form.mode,
      header,
      headerBytes,
      content,
      proof: last instanceof Uint8Array ? last : empty,
      recipients,
    },
  };
}

const empty = new Uint8Array();

interface Form {
  readonly tag: number | undefined;
  readonly mode: SealMode;
  readonly items: number;
  readonly algorithms: readonly number[];
}

const { sha256, hmac256, es256, es384, eddsa, aes256Gcm } = algorithm;

const forms: readonly Form[] = [
  // Without a tag: COSE has no structure for what proves nothing, and nobody shall take it for one that does.
  { tag: undefined, mode: "checksum", items: 4, algorithms: [sha256] },
  { tag: coseTag.mac0, mode: "mac", items: 4, algorithms: [hmac256] },
  { tag: coseTag.sign1, mode: "signed", items: 4, algorithms: [eddsa, es256, es384] },
  { tag: coseTag.encrypt0, mode: "encrypted", items: 3, algorithms: [aes256Gcm] },
  { tag: coseTag.encrypt, mode: "encrypted", items: 4, algorithms: [aes256Gcm] },
];

function malformed(reason: string): StructureResult {
  return { kind: "malformed", reason };
}

export function isArray(value: CborValue): value is readonly CborValue[] {
  return Array.isArray(value);
}

/** `[[<< {1: algorithm} >>, {4: key id, -4: enc}, ciphertext], …]`; what is wrong, as a text, when it is not. */
export function recipientsOf(value: CborValue): readonly SealedKey[] | string {
  if (!isArray(value) || value.length === 0) return "it has no recipients";
  if (value.length > recipientsMax) return `it has more than ${recipientsMax} recipients`;
  const keys: SealedKey[] = [];
  for (const each of value) {
    const key = sealedKeyOf(each);
    if (key === undefined) return "one of its recipients is not as it should be";
    keys.push(key);
  }
  return keys;
}

function sealedKeyOf(value: CborValue): SealedKey | undefined {
  if (!isArray(value) || value.length !== 3) return undefined;
  const [header, unprotected, ciphertext] = value;
  if (
    !(header instanceof Uint8Array) ||
    !(unprotected instanceof Map) ||
    !(ciphertext instanceof Uint8Array)
  ) {
    return undefined;
  }
  const parameters: ReadonlyMap<CborKey, CborValue> = unprotected;
  const keyId = parameters.get(label.kid);
  const enc = parameters.get(label.ek);
  if (parameters.size !== 2 || !(keyId instanceof Uint8Array) || keyId.length !== keyIdBytes)
    return undefined;
  if (!(enc instanceof Uint8Array)) return undefined;
  const decoded = decodeCbor(header);
  if (decoded.kind === "malformed" || !(decoded.value instanceof Map) || decoded.value.size !== 1)
    return undefined;
  const protectedParameters: ReadonlyMap<CborKey, CborValue> = decoded.value;
  const algorithm = protectedParameters.get(label.alg);
  return typeof algorithm === "number" ? { header, algorithm, keyId, enc, ciphertext } : undefined;
}
