/** The identifier octets we meet: class, constructed bit and number in one byte. @see X.690 §8.1.2 */
export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** `[number]`, constructed: an EXPLICIT tag, or an IMPLICIT one of a SEQUENCE or SET. @see X.690 §8.14 */
export function contextTag(number: number): number {
  return 0xa0 | contextNumber(number);
}

/** `[number]`, primitive: an IMPLICIT tag of anything else. */
export function contextPrimitiveTag(number: number): number {
  return 0x80 | contextNumber(number);
}

function contextNumber(number: number): number {
  if (Number.isInteger(number) && number >= 0 && number < 31) return number;
  throw new RangeError(`${number} is no tag number of 0 to 30`);
}
