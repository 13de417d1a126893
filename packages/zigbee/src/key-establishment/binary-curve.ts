/*
 * Koblitz curves over binary fields, y² + xy = x³ + ax² + 1, with BigInt: bit i of a number is the coefficient of xⁱ. Made to read
 * captures and to test: its time depends on the numbers, so secrets of a live network do not belong here.
 */

/** A point that is not the one at infinity. */
export interface CurvePoint {
  readonly x: bigint;
  readonly y: bigint;
}

/** `undefined`: the point at infinity, the neutral element. */
export type Point = CurvePoint | undefined;

/** A curve and its field. @see SEC 2 §3 */
export interface BinaryCurve {
  readonly name: string;
  /** Degree of the field. */
  readonly degree: number;
  /** The polynomial of the field. */
  readonly modulus: bigint;
  readonly a: bigint;
  readonly generator: CurvePoint;
  /** Order of the generator. */
  readonly order: bigint;
  readonly cofactor: bigint;
}

function polynomial(...exponents: readonly number[]): bigint {
  return exponents.reduce((sum, exponent) => sum | (1n << BigInt(exponent)), 0n);
}

/** Of key establishment suite 1. @see SEC 2 §3.2.1 */
export const sect163k1: BinaryCurve = {
  name: "sect163k1",
  degree: 163,
  modulus: polynomial(163, 7, 6, 3, 0),
  a: 1n,
  generator: {
    x: 0x02fe13c0537bbc11acaa07d793de4e6d5e5c94eee8n,
    y: 0x0289070fb05d38ff58321f2e800536d538ccdaa3d9n,
  },
  order: 0x04000000000000000000020108a2e0cc0d99f8a5efn,
  cofactor: 2n,
};

/** Of key establishment suite 2. @see SEC 2 §3.4.1 */
export const sect283k1: BinaryCurve = {
  name: "sect283k1",
  degree: 283,
  modulus: polynomial(283, 12, 7, 5, 0),
  a: 0n,
  generator: {
    x: 0x0503213f78ca44883f1a3b8162f188e553cd265f23c1567a16876913b0c2ac2458492836n,
    y: 0x01ccda380f1c9e318d90f95d07e5426fe87e45c0e8184698e45962364e34116177dd2259n,
  },
  order: 0x01ffffffffffffffffffffffffffffffffffe9ae2ed07577265dff7f94451e061e163c61n,
  cofactor: 4n,
};

/** Number of bits, 0 for 0. */
function bitLength(value: bigint): number {
  if (value === 0n) return 0;
  const digits = value.toString(16);
  return 4 * digits.length - 4 + 32 - Math.clz32(Number.parseInt(digits.slice(0, 1), 16));
}

/** Folds what lies above the degree down: x to the degree is the rest of the polynomial. */
function reduced({ degree, modulus }: BinaryCurve, value: bigint): bigint {
  const bits = BigInt(degree);
  const mask = (1n << bits) - 1n;
  const low = tapsOf(modulus, bits);
  let rest = value;
  for (let high = rest >> bits; high > 0n; high = rest >> bits) {
    rest &= mask;
    for (const tap of low) rest ^= high << tap;
  }
  return rest;
}

/** Exponents of a polynomial below its degree. */
function tapsOf(modulus: bigint, degree: bigint): readonly bigint[] {
  const known = taps.get(modulus);
  if (known !== undefined) return known;
  const found: bigint[] = [];
  for (let exponent = 0n; exponent < degree; exponent++) if ((modulus >> exponent) & 1n) found.push(exponent);
  taps.set(modulus, found);
  return found;
}

const taps = new Map<bigint, readonly bigint[]>();

/** Four bits at a time. */
function multiplied(curve: BinaryCurve, first: bigint, second: bigint): bigint {
  const multiples: bigint[] = [0n, first];
  for (let index = 2; index < 16; index += 2) {
    const even = (multiples[index >> 1] ?? 0n) << 1n;
    multiples.push(even, even ^ first);
  }
  let product = 0n;
  for (const digit of second.toString(16)) {
    product = (product << 4n) ^ (multiples[Number.parseInt(digit, 16)] ?? 0n);
  }
  return reduced(curve, product);
}

function squared(curve: BinaryCurve, value: bigint): bigint {
  // Squaring spreads the bits: base 2 read as base 4.
  return reduced(curve, value === 0n ? 0n : BigInt(`0b${value.toString(2).split("").join("0")}`));
}

/** 1 / value, by the extended Euclidean algorithm. Throws `RangeError` for 0. */
function inverted({ modulus }: BinaryCurve, value: bigint): bigint {
  if (value === 0n) throw new RangeError("0 has no inverse");
  let [high, low] = [modulus, value];
  let [highFactor, lowFactor] = [0n, 1n];
  while (low !== 1n) {
    const shift = BigInt(bitLength(high) - bitLength(low));
    if (shift < 0n) {
      [high, low, highFactor, lowFactor] = [low, high, lowFactor, highFactor];
      continue;
    }
    high ^= low << shift;
    highFactor ^= lowFactor << shift;
    if (high === 1n) return highFactor;
  }
  return lowFactor;
}

/** Whether a point satisfies the equation of the curve. */
export function isOnCurve(curve: BinaryCurve, { x, y }: CurvePoint): boolean {
  const xx = squared(curve, x);
  const left = squared(curve, y) ^ multiplied(curve, x, y);
  return left === (multiplied(curve, xx, x) ^ multiplied(curve, curve.a, xx) ^ 1n);
}

/** @see SEC 1 §2.2.2 */
export function added(curve: BinaryCurve, first: Point, second: Point): Point {
  if (first === undefined) return second;
  if (second === undefined) return first;
  if (first.x !== second.x) {
    const slope = multiplied(curve, first.y ^ second.y, inverted(curve, first.x ^ second.x));
    const x = squared(curve, slope) ^ slope ^ first.x ^ second.x ^ curve.a;
    return { x, y: multiplied(curve, slope, first.x ^ x) ^ x ^ first.y };
  }
  if (first.y !== second.y || first.x === 0n) return undefined;
  const slope = first.x ^ multiplied(curve, first.y, inverted(curve, first.x));
  const x = squared(curve, slope) ^ slope ^ curve.a;
  return { x, y: squared(curve, first.x) ^ multiplied(curve, slope ^ 1n, x) };
}

/** The point added to itself `factor` times. */
export function scaled(curve: BinaryCurve, point: Point, factor: bigint): Point {
  let sum: Point;
  let power = point;
  for (let bits = factor; bits > 0n; bits >>= 1n) {
    if (bits & 1n) sum = added(curve, sum, power);
    power = added(curve, power, power);
  }
  return sum;
}

/** Bytes of a number of the field. */
export function fieldBytes({ degree }: BinaryCurve): number {
  return Math.ceil(degree / 8);
}

/** The unsigned big-endian integer of bytes. */
export function integerOf(bytes: Uint8Array): bigint {
  return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/** A number of the field as bytes, most significant first. */
export function fieldElementBytes(curve: BinaryCurve, value: bigint): Uint8Array {
  const digits = value.toString(16).padStart(2 * fieldBytes(curve), "0");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** The point of its compressed form; `undefined` when there is none. @see SEC 1 §2.3.4 */
export function decompressedPoint(curve: BinaryCurve, bytes: Uint8Array): CurvePoint | undefined {
  const [form = 0] = bytes;
  if (bytes.length !== 1 + fieldBytes(curve) || (form !== 2 && form !== 3)) return undefined;
  const x = integerOf(bytes.subarray(1));
  if (x === 0n || bitLength(x) > curve.degree) return undefined;
  const right = x ^ curve.a ^ squared(curve, inverted(curve, x));
  // z² + z = right is solved by the half trace, since the degree is odd.
  let z = right;
  let power = right;
  for (let index = 0; index < (curve.degree - 1) / 2; index++) {
    power = squared(curve, squared(curve, power));
    z ^= power;
  }
  if ((z & 1n) !== BigInt(form & 1)) z ^= 1n;
  const point = { x, y: multiplied(curve, x, z) };
  return isOnCurve(curve, point) ? point : undefined;
}

/** The compressed form of a point. @see SEC 1 §2.3.3 */
export function compressedPoint(curve: BinaryCurve, { x, y }: CurvePoint): Uint8Array {
  const z = x === 0n ? 0n : multiplied(curve, y, inverted(curve, x));
  const bytes = new Uint8Array(1 + fieldBytes(curve));
  bytes[0] = 2 | Number(z & 1n);
  bytes.set(fieldElementBytes(curve, x), 1);
  return bytes;
}
