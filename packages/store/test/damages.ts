import { readFileSync, truncateSync, writeFileSync } from "node:fs";

export interface Damage {
  readonly name: string;
  readonly apply: (file: string) => void;
}

const PAGE_BYTES = 4096;
const randomCount = Number(process.env["POSTERN_DAMAGE_RUNS"] ?? 15);

/** What disks, power failures, full disks and people do to a file. Always the same for the same file. */
export function damages(original: string): Damage[] {
  const bytes = readFileSync(original);
  const random = numbers(20_260_801);
  const at = (): number => random(bytes.length);
  const list: Damage[] = [{ name: "none", apply: () => {} }];

  const lengths = [
    0,
    1,
    100,
    PAGE_BYTES - 1,
    PAGE_BYTES,
    2 * PAGE_BYTES,
    3 * PAGE_BYTES,
    bytes.length - PAGE_BYTES,
  ];
  for (const length of [...lengths, bytes.length - 1, at(), at(), at(), at()]) {
    list.push({ name: `truncated to ${length}`, apply: (file) => truncateSync(file, length) });
  }
  list.push(edit("filled with zeros", (copy) => copy.fill(0)));
  list.push(edit("filled with ones", (copy) => copy.fill(0xff)));
  list.push(edit("with zeros from the middle on", (copy) => copy.fill(0, copy.length / 2)));
  list.push({ name: "a text", apply: (file) => writeFileSync(file, "I keep my notes here.\n".repeat(1000)) });
  for (let page = 0; page < Math.min(12, bytes.length / PAGE_BYTES); page += 1) {
    const start = page * PAGE_BYTES;
    list.push(edit(`page ${page} zero`, (copy) => copy.fill(0, start, start + PAGE_BYTES)));
  }
  // Every number of both meta pages: the one off by one, the other far off.
  for (let offset = 24; offset < 160; offset += 8) {
    const far = PAGE_BYTES + offset + 4;
    list.push(edit(`meta page 0, byte ${offset} + 1`, (copy) => addOne(copy, offset)));
    list.push(edit(`meta page 1, byte ${offset} far off`, (copy) => copy.fill(0x7f, far, far + 4)));
    list.push(edit(`meta page 0, byte ${offset} far off`, (copy) => copy.fill(0x7f, offset + 4, offset + 8)));
  }
  for (let count = 0; count < randomCount; count += 1) {
    const kind = random(3);
    const start = at();
    if (kind === 0)
      list.push(
        edit(`bit flipped at ${start}`, (copy) => (copy[start] = (copy[start] ?? 0) ^ (1 << random(8)))),
      );
    if (kind === 1)
      list.push(edit(`noise at ${start}`, (copy) => noise(copy, start, 1 + random(64), random)));
    if (kind === 2) list.push(edit(`noise from ${start} on`, (copy) => noise(copy, start, 20_000, random)));
  }
  return list;
}

function edit(name: string, change: (copy: Buffer) => unknown): Damage {
  return {
    name,
    apply: (file) => {
      const copy = readFileSync(file);
      change(copy);
      writeFileSync(file, copy);
    },
  };
}

function addOne(bytes: Buffer, at: number): void {
  bytes[at] = ((bytes[at] ?? 0) + 1) & 0xff;
}

function noise(bytes: Buffer, start: number, length: number, random: (below: number) => number): void {
  for (let at = start; at < Math.min(start + length, bytes.length); at += 1) bytes[at] = random(256);
}

/** A linear congruential generator: good enough to choose places. @returns numbers from 0 up to but without `below`. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
