/** Session numbers, positions and message numbers are written as six bytes. */
export const NUMBER_MAX = 2 ** 48 - 1;

const PACKET_ID_MAX = 65_535;

/** @throws {RangeError} when `value` is not a whole number from 1 to 2^48 - 1. */
export function checkNumber(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1 || value > NUMBER_MAX) {
    throw new RangeError(`${name} ${value} is not a whole number from 1 to 2^48 - 1`);
  }
}

/** @throws {RangeError} when `value` is not a packet id, or 0 for none. */
export function checkPacketId(value: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value > PACKET_ID_MAX) {
    throw new RangeError(`packet id ${value} is not a whole number from 0 to 65,535`);
  }
}
