import { uint16 } from "../encoding.ts";
import { type Eui64, eui64Bytes } from "../eui64.ts";
import { joined, mmoHash } from "../security/mmo-hash.ts";
import { compressedPoint, fieldElementBytes, integerOf, scaled, sect163k1 } from "./binary-curve.ts";
import { cbkeSuite1, publicKey } from "./cbke.ts";

const curve = sect163k1;
const privateKeyBytes = 21;

/** An implicit certificate with its private key, as a maker puts them into a device. */
export interface IssuedCertificate {
  readonly certificate: Uint8Array;
  readonly privateKey: Uint8Array;
}

/** A private key for sect163k1. `random`: bytes that nobody can foretell. */
export function drawPrivateKey(random: (count: number) => Uint8Array): Uint8Array {
  const wide = integerOf(random(privateKeyBytes + 8));
  return fieldElementBytes(curve, 1n + (wide % (curve.order - 1n)));
}

/**
 * An authority that issues implicit certificates on sect163k1 (ECQV): of a simulation or a test, since its time depends on its secrets.
 * @see SEC 4 §2.4, Smart Energy §C.4.2.3.1
 */
export class CertificateAuthority {
  readonly #privateKey: Uint8Array;
  readonly #random: (count: number) => Uint8Array;
  readonly #name: Uint8Array;
  /** Compressed: what all devices know. */
  readonly publicKey: Uint8Array;

  /** `name`: how certificates call their issuer, in eight bytes. */
  constructor(name: Uint8Array, random: (count: number) => Uint8Array) {
    this.#random = random;
    this.#name = name;
    this.#privateKey = drawPrivateKey(random);
    this.publicKey = publicOf(this.#privateKey);
  }

  /**
   * A certificate for a device. The authority draws the device's part as well, as the one that makers buy from does; in ECQV proper the
   * device keeps that part for itself.
   */
  issue(subject: Eui64): IssuedCertificate {
    const drawn = integerOf(drawPrivateKey(this.#random));
    const point = scaled(curve, curve.generator, drawn);
    if (point === undefined) throw new TypeError("a number below the order has a point");
    const attributes = joined(uint16(0x0109).toReversed(), new Uint8Array(8));
    const address = eui64Bytes(subject).toReversed();
    const certificate = joined(compressedPoint(curve, point), address, this.#name, attributes);
    const secret = (integerOf(mmoHash(certificate)) * drawn + integerOf(this.#privateKey)) % curve.order;
    return { certificate, privateKey: fieldElementBytes(curve, secret) };
  }
}

/** The public key of a key that was drawn. */
function publicOf(privateKey: Uint8Array): Uint8Array {
  const key = publicKey(cbkeSuite1.curve, privateKey);
  if (key === undefined) throw new TypeError("a private key is never 0");
  return key;
}
