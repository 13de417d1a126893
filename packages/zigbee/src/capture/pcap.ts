import { type ByteQueue } from "./byte-queue.ts";
import { type CaptureProblem } from "./captured-frame.ts";
import { isKnownLinkType, unknownLinkTypeText } from "./link-type.ts";

/** Called for every record: its number from 1, time, link type, where its bytes are, and how many more there were on the air. */
export type OnRecord = (
  number: number,
  timeUs: number,
  linkType: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  missing: number,
) => void;

/** What a format's reader does with bytes as they come. */
export interface FormatReader {
  /** Uses what is complete; the rest stays in the queue. Returns why it cannot go on, if it cannot. */
  read(queue: ByteQueue, onRecord: OnRecord): CaptureProblem | undefined;
  /** What is left in the queue when the file ends, in words; `undefined` when it may end here. */
  unfinished(queue: ByteQueue): string | undefined;
}

const magics: ReadonlyMap<number, { readonly littleEndian: boolean; readonly ticksPerUs: number }> = new Map([
  [0xa1b2c3d4, { littleEndian: false, ticksPerUs: 1 }],
  [0xd4c3b2a1, { littleEndian: true, ticksPerUs: 1 }],
  [0xa1b23c4d, { littleEndian: false, ticksPerUs: 1000 }],
  [0x4d3cb2a1, { littleEndian: true, ticksPerUs: 1000 }],
]);

/** Whether four bytes, read big-endian, begin a pcap file. */
export function isPcapMagic(magic: number): boolean {
  return magics.has(magic);
}

/** A record of a radio whose frames have 127 bytes is never longer than this, whatever its file says. */
export const recordBytesMax = 262_144;

/** Reads classic pcap files. @see draft-ietf-opsawg-pcap */
export function createPcapReader(): FormatReader {
  let linkType = -1;
  let littleEndian = true;
  let ticksPerUs = 1;
  let number = 0;

  function header(queue: ByteQueue): CaptureProblem | undefined {
    const order = magics.get(queue.uint32(0, false));
    littleEndian = order?.littleEndian ?? true;
    ticksPerUs = order?.ticksPerUs ?? 1;
    linkType = queue.uint32(20, littleEndian) & 0xffff;
    queue.skip(24);
    if (isKnownLinkType(linkType)) return undefined;
    return { kind: "unknown-link-type", reason: unknownLinkTypeText(linkType) };
  }

  return {
    read(queue, onRecord) {
      if (linkType === -1) {
        if (queue.length < 24) return undefined;
        const problem = header(queue);
        if (problem !== undefined) return problem;
      }
      while (queue.length >= 16) {
        const length = queue.uint32(8, littleEndian);
        if (length > recordBytesMax) {
          const reason = `record ${number + 1} at byte ${queue.position} claims ${length} bytes`;
          return { kind: "damaged", reason };
        }
        if (queue.length < 16 + length) return undefined;
        const missing = Math.max(0, queue.uint32(12, littleEndian) - length);
        const timeUs = queue.uint32(0, littleEndian) * 1e6 + queue.uint32(4, littleEndian) / ticksPerUs;
        queue.skip(16);
        const start = queue.offset;
        queue.skip(length);
        onRecord(++number, timeUs, linkType, queue.bytes, start, start + length, missing);
      }
      return undefined;
    },
    unfinished(queue) {
      if (linkType === -1) return "the file ends within its header";
      if (queue.length === 0) return undefined;
      return `the file ends within record ${number + 1}, at byte ${queue.position}`;
    },
  };
}
