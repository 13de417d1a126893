import { decodeCbor } from "../cbor/decode.ts";
import { CborTagged, type CborKey, type CborMap, type CborValue } from "../cbor/value.ts";
import { isArray } from "../envelope/structure.ts";
import { coseTag } from "./registry.ts";

export type CoseKind = keyof typeof coseTag;

/** The two headers of a message or of a part of one. */
export interface CoseHeaders {
  /** As it was sent; empty where the map is, as structures want it. @see RFC 9052 §3 */
  readonly protectedBytes: Uint8Array;
  readonly protected: CborMap;
  readonly unprotected: CborMap;
}

export interface CoseSignature extends CoseHeaders {
  readonly signature: Uint8Array;
}

export interface CoseRecipient extends CoseHeaders {
  /** The encrypted key; empty where the key is agreed on or given. */
  readonly ciphertext: Uint8Array;
}

/** Any COSE message, decoded and not checked. `content` is the payload or the ciphertext, `undefined` when it comes by another way. */
export interface CoseMessage extends CoseHeaders {
  readonly kind: CoseKind;
  readonly content: Uint8Array | undefined;
  /** Signature of `sign1`, tag of `mac0` and `mac`; empty otherwise. */
  readonly proof: Uint8Array;
  /** Of `sign`. */
  readonly signatures: readonly CoseSignature[];
  /** Of `mac` and `encrypt`. */
  readonly recipients: readonly CoseRecipient[];
}

export type CoseDecodeResult =
  | { readonly kind: "message"; readonly message: CoseMessage }
  | { readonly kind: "malformed"; readonly reason: string };

const partsMax = 64;
const empty = new Uint8Array();

/**
 * Decodes a message of anybody, in any order of map keys; `untagged` says what one without a tag is. Never throws. What is in it
 * proves nothing until `openCose`. @see RFC 9052 §2
 */
export function decodeCose(
  bytes: Uint8Array,
  { untagged }: { readonly untagged?: CoseKind } = {},
): CoseDecodeResult {
  const decoded = decodeCbor(bytes, { form: "preferred" });
  if (decoded.kind === "malformed") return decoded;
  const { value } = decoded;
  const kind = value instanceof CborTagged ? kindOf(value.tag) : untagged;
  if (kind === undefined) return malformed("it has no tag of a COSE message");
  const items = value instanceof CborTagged ? value.value : value;
  const message = isArray(items) ? messageFrom(kind, items) : undefined;
  return message === undefined ? malformed(`it is not of the form of ${kind}`) : { kind: "message", message };
}

function malformed(reason: string): CoseDecodeResult {
  return { kind: "malformed", reason };
}

function kindOf(tag: number): CoseKind | undefined {
  const kinds: readonly CoseKind[] = ["encrypt0", "mac0", "sign1", "encrypt", "mac", "sign"];
  return kinds.find((kind) => coseTag[kind] === tag);
}

/** What follows the content: `proof`, then `parts`. */
const shapes: Readonly<
  Record<CoseKind, { readonly proof: boolean; readonly parts: "none" | "signatures" | "recipients" }>
> = {
  sign1: { proof: true, parts: "none" },
  mac0: { proof: true, parts: "none" },
  encrypt0: { proof: false, parts: "none" },
  sign: { proof: false, parts: "signatures" },
  mac: { proof: true, parts: "recipients" },
  encrypt: { proof: false, parts: "recipients" },
};

function messageFrom(kind: CoseKind, items: readonly CborValue[]): CoseMessage | undefined {
  const shape = shapes[kind];
  const [, , content, ...rest] = items;
  const headers = headersFrom(items);
  const proof = shape.proof ? rest.shift() : empty;
  const parts = shape.parts === "none" ? [] : rest.shift();
  if (headers === undefined || !(proof instanceof Uint8Array) || rest.length > 0 || items.length < 3)
    return undefined;
  if (!(content instanceof Uint8Array) && content !== null) return undefined;
  if (!isArray(parts) || parts.length > partsMax || (shape.parts !== "none" && parts.length === 0))
    return undefined;
  const decoded: CoseRecipient[] = [];
  for (const part of parts) {
    const recipient = isArray(part) ? partFrom(part) : undefined;
    if (recipient === undefined) return undefined;
    decoded.push(recipient);
  }
  return {
    kind,
    ...headers,
    content: content ?? undefined,
    proof,
    signatures: shape.parts === "signatures" ? decoded.map(asSignature) : [],
    recipients: shape.parts === "recipients" ? decoded : [],
  };
}

function asSignature({ ciphertext, ...headers }: CoseRecipient): CoseSignature {
  return { ...headers, signature: ciphertext };
}

/** `[protected, unprotected, bytes]`; recipients within recipients have no use that we know, and are refused. */
function partFrom(items: readonly CborValue[]): CoseRecipient | undefined {
  const headers = headersFrom(items);
  const bytes = items[2];
  if (headers === undefined || items.length !== 3) return undefined;
  if (bytes === null) return { ...headers, ciphertext: empty };
  return bytes instanceof Uint8Array ? { ...headers, ciphertext: bytes } : undefined;
}

function headersFrom([sent, unprotected]: readonly CborValue[]): CoseHeaders | undefined {
  if (!(sent instanceof Uint8Array) || !isMap(unprotected)) return undefined;
  if (sent.length === 0) return { protectedBytes: sent, protected: new Map(), unprotected };
  const decoded = decodeCbor(sent, { form: "preferred" });
  if (decoded.kind === "malformed" || !isMap(decoded.value)) return undefined;
  // A label in both would be read differently by different readers. @see RFC 9052 §3
  for (const key of decoded.value.keys()) if (unprotected.has(key)) return undefined;
  return { protectedBytes: decoded.value.size === 0 ? empty : sent, protected: decoded.value, unprotected };
}

export function isMap(value: CborValue): value is ReadonlyMap<CborKey, CborValue> {
  return value instanceof Map;
}

/** A header parameter, from wherever it is. */
export function parameter(headers: CoseHeaders, key: number): CborValue {
  return headers.protected.has(key) ? headers.protected.get(key) : headers.unprotected.get(key);
}
