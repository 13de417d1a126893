/** Bytes of an instance: 4 of the time when it began, then 4 random ones. */
export const instanceBytes = 8;

export const sequenceMax = 2 ** 48 - 1;

/**
 * Which message of a sender this is. No two messages of a sender have the same position: the keys of a group are derived for each
 * sender and instance, and the sequence is the nonce, so that the same position would be the same nonce.
 */
export interface Position {
  /** A counter from its first number on; a sender that lost its counter begins a new one. 8 bytes. */
  readonly instance: Uint8Array;
  /** 0 to 2^48 - 1. */
  readonly sequence: number;
}

/** Throws `RangeError` unless the position can be sealed with. */
export function requirePosition({ instance, sequence }: Position): void {
  if (instance.length !== instanceBytes) {
    throw new RangeError(`an instance has ${instanceBytes} bytes, this one has ${instance.length}`);
  }
  if (!Number.isInteger(sequence) || sequence < 0 || sequence > sequenceMax) {
    throw new RangeError(`${sequence} is not a sequence number from 0 to 2^48 - 1`);
  }
}
