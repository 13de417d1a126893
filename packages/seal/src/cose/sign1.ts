import { decodeCbor } from "../cbor/decode.ts";
import { encodeCbor } from "../cbor/encode.ts";
import { CborTagged, type CborKey, type CborValue } from "../cbor/value.ts";
import { coseTag, label } from "./registry.ts";

/** A COSE_Sign1 with nothing in its headers but its algorithm. */
export interface Sign1 {
  /** The protected header, as it was sent. */
  readonly header: Uint8Array;
  readonly algorithm: number;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

/** `sign` is given the protected header, which it covers. */
export function encodeSign1(
  algorithm: number,
  payload: Uint8Array,
  sign: (header: Uint8Array) => Uint8Array,
): Buffer {
  const header = encodeCbor(new Map([[label.alg, algorithm]]));
  return encodeCbor(new CborTagged(coseTag.sign1, [header, new Map(), payload, sign(header)]));
}

/** @returns `undefined` when it is none, or has anything else in its headers. Never throws. */
export function decodeSign1(bytes: Uint8Array): Sign1 | undefined {
  const decoded = decodeCbor(bytes);
  if (decoded.kind === "malformed" || !(decoded.value instanceof CborTagged)) return undefined;
  const { tag, value } = decoded.value;
  if (tag !== coseTag.sign1 || !Array.isArray(value) || value.length !== 4) return undefined;
  const [header, unprotected, payload, signature]: readonly CborValue[] = value;
  if (!(header instanceof Uint8Array) || !(unprotected instanceof Map) || unprotected.size > 0)
    return undefined;
  if (!(payload instanceof Uint8Array) || !(signature instanceof Uint8Array)) return undefined;
  const parameters = decodeCbor(header);
  if (parameters.kind === "malformed" || !(parameters.value instanceof Map) || parameters.value.size !== 1) {
    return undefined;
  }
  const map: ReadonlyMap<CborKey, CborValue> = parameters.value;
  const algorithm = map.get(label.alg);
  return typeof algorithm === "number" ? { header, algorithm, payload, signature } : undefined;
}
