import { joined, keyedHash, mmoHash } from "../security/mmo-hash.ts";
import {
  added,
  type BinaryCurve,
  compressedPoint,
  type CurvePoint,
  decompressedPoint,
  fieldElementBytes,
  integerOf,
  scaled,
  sect163k1,
  sect283k1,
} from "./binary-curve.ts";

/** A key establishment suite: curve and form of certificates. @see Smart Energy §C.3, §C.4 */
export interface CbkeSuite {
  readonly id: number;
  readonly curve: BinaryCurve;
  readonly certificateBytes: number;
  /** Where the compressed point, the device's address and the issuer stand in a certificate. */
  readonly pointOffset: number;
  readonly subjectOffset: number;
  readonly issuerOffset: number;
}

/** Certificates of 48 bytes: point, subject, issuer, ten bytes of the maker. */
export const cbkeSuite1: CbkeSuite = {
  id: 1,
  curve: sect163k1,
  certificateBytes: 48,
  pointOffset: 0,
  subjectOffset: 22,
  issuerOffset: 30,
};

/** Certificates of 74 bytes; the point is their last field. */
export const cbkeSuite2: CbkeSuite = {
  id: 2,
  curve: sect283k1,
  certificateBytes: 74,
  pointOffset: 37,
  subjectOffset: 28,
  issuerOffset: 11,
};

/** The address of the device that a certificate is for, most significant byte first; `undefined` when it is none. */
export function certificateSubject(suite: CbkeSuite, certificate: Uint8Array): Uint8Array | undefined {
  if (certificate.length !== suite.certificateBytes) return undefined;
  return certificate.slice(suite.subjectOffset, suite.subjectOffset + 8);
}

/**
 * The public key that an implicit certificate stands for, given the authority's: `undefined` when either is no point. Only who holds
 * the private key of it can do anything with it, which is the whole proof (ECQV). @see SEC 4 §2.5, Smart Energy §C.5.3
 */
export function certificateKey(
  suite: CbkeSuite,
  certificate: Uint8Array,
  authorityKey: Uint8Array,
): CurvePoint | undefined {
  const { curve, pointOffset } = suite;
  if (certificate.length !== suite.certificateBytes) return undefined;
  const pointBytes = 1 + Math.ceil(curve.degree / 8);
  const point = decompressedPoint(curve, certificate.subarray(pointOffset, pointOffset + pointBytes));
  const authority = decompressedPoint(curve, authorityKey);
  if (point === undefined || authority === undefined) return undefined;
  return added(curve, scaled(curve, point, integerOf(mmoHash(certificate))), authority);
}

/**
 * The public key of a private one, compressed; `undefined` when the private key is 0. One that is not below the order counts as its
 * rest: a key of Annex C.6 is.
 */
export function publicKey(curve: BinaryCurve, privateKey: Uint8Array): Uint8Array | undefined {
  const secret = integerOf(privateKey) % curve.order;
  if (secret === 0n) return undefined;
  const point = scaled(curve, curve.generator, secret);
  return point === undefined ? undefined : compressedPoint(curve, point);
}

/** The lower half of a point's x coordinate with a bit above. @see SEC 1 §3.4 */
function halfOf({ order }: BinaryCurve, { x }: CurvePoint): bigint {
  const bits = BigInt(Math.ceil(order.toString(2).length / 2));
  return (x & ((1n << bits) - 1n)) | (1n << bits);
}

/** What one side knows; the other side's static key comes from its certificate. */
export interface MqvInput {
  readonly privateKey: Uint8Array;
  readonly ephemeralPrivateKey: Uint8Array;
  readonly peerKey: CurvePoint;
  readonly peerEphemeralKey: Uint8Array;
}

/** The shared secret of ECMQV: `undefined` when a key is not one of the curve. @see SEC 1 §6.2 */
export function mqvSecret(curve: BinaryCurve, input: MqvInput): Uint8Array | undefined {
  const ephemeralBytes = publicKey(curve, input.ephemeralPrivateKey);
  const ephemeral = ephemeralBytes === undefined ? undefined : decompressedPoint(curve, ephemeralBytes);
  const peerEphemeral = decompressedPoint(curve, input.peerEphemeralKey);
  if (ephemeral === undefined || peerEphemeral === undefined) return undefined;
  const ephemeralSecret = integerOf(input.ephemeralPrivateKey);
  const signature = (ephemeralSecret + halfOf(curve, ephemeral) * integerOf(input.privateKey)) % curve.order;
  const peer = added(curve, peerEphemeral, scaled(curve, input.peerKey, halfOf(curve, peerEphemeral)));
  const shared = scaled(curve, peer, (curve.cofactor * signature) % (curve.cofactor * curve.order));
  return shared === undefined ? undefined : fieldElementBytes(curve, shared.x);
}

/** What comes out of the secret: the key that confirms, and the link key. @see Smart Energy §C.5.3, SEC 1 §3.6.1 */
export function cbkeKeys(secret: Uint8Array): { readonly macKey: Uint8Array; readonly linkKey: Uint8Array } {
  return {
    macKey: mmoHash(joined(secret, Uint8Array.of(0, 0, 0, 1))),
    linkKey: mmoHash(joined(secret, Uint8Array.of(0, 0, 0, 2))),
  };
}

/** One side as the confirmation names it: address, most significant byte first, and compressed ephemeral key. */
export interface CbkeParty {
  readonly address: Uint8Array;
  readonly ephemeralKey: Uint8Array;
}

/** The proof that a side holds the keys: of the initiator (2) about itself first, of the responder (3) likewise. @see Smart Energy §C.5.4 */
export function confirmation(
  macKey: Uint8Array,
  role: "initiator" | "responder",
  own: CbkeParty,
  peer: CbkeParty,
): Uint8Array {
  const message = joined(
    Uint8Array.of(role === "initiator" ? 2 : 3),
    own.address,
    peer.address,
    own.ephemeralKey,
    peer.ephemeralKey,
  );
  return keyedHash(macKey, message);
}
