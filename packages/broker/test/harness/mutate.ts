import type { Random } from "../../src/testing/random.ts";

/** Bytes that often mean something where they do not belong: ends of ranges, flags, wildcards, UTF-8 lead bytes. */
const telling = [
  0x00, 0x01, 0x7f, 0x80, 0xff, 0x10, 0x23, 0x2b, 0x2f, 0x30, 0x62, 0xc0, 0xe0, 0xed, 0xf4,
] as const;

type Mutation = (bytes: Buffer, random: Random) => Buffer;

/** The packet with one byte where another was. */
const overwrite: Mutation = (bytes, random) => {
  const changed = Buffer.from(bytes);
  changed[random.below(changed.length)] = random.chance(0.5) ? random.pick(telling) : random.bits();
  return changed;
};

const flipBit: Mutation = (bytes, random) => {
  const changed = Buffer.from(bytes);
  const at = random.below(changed.length);
  changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8));
  return changed;
};

const truncate: Mutation = (bytes, random) => bytes.subarray(0, random.below(bytes.length));

const removePart: Mutation = (bytes, random) => {
  const at = random.below(bytes.length);
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random.between(1, 4))]);
};

const insert: Mutation = (bytes, random) => {
  const at = random.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), random.bytes(random.between(1, 4)), bytes.subarray(at)]);
};

const repeatPart: Mutation = (bytes, random) => {
  const at = random.below(bytes.length);
  const end = Math.min(bytes.length, at + random.between(1, 20));
  return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
};

/** A remaining length that is not the packet's: too short, too long, in too many bytes. */
const lie: Mutation = (bytes, random) => {
  const lengths = [[0x00], [0x7f], [0xff, 0x7f], [0x80, 0x80, 0x01], [0xff, 0xff, 0xff, 0x7f], [0x80, 0x00]];
  return Buffer.concat([bytes.subarray(0, 1), Buffer.from(random.pick(lengths)), bytes.subarray(2)]);
};

const mutations = [overwrite, overwrite, flipBit, flipBit, truncate, removePart, insert, repeatPart, lie];

/** The packet with one or a few things wrong with it; now and then nothing is. */
export function mutate(bytes: Buffer, random: Random): Buffer {
  let mutated = bytes;
  for (let count = random.pick([1, 1, 1, 2, 3]); count > 0 && mutated.length > 0; count -= 1) {
    mutated = random.pick(mutations)(mutated, random);
  }
  return mutated;
}

/** The beginning of one packet and the end of another. */
export function splice(first: Buffer, second: Buffer, random: Random): Buffer {
  return Buffer.concat([
    first.subarray(0, random.below(first.length + 1)),
    second.subarray(random.below(second.length + 1)),
  ]);
}
