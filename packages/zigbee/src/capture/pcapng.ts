import { isKnownLinkType, unknownLinkTypeText } from "./link-type.ts";
import { type FormatReader, recordBytesMax } from "./pcap.ts";

/** First four bytes of a pcapng file, the same in either byte order. */
export const sectionHeaderBlock = 0x0a0d0d0a;

const BlockType = { interface: 1, packet: 2, simplePacket: 3, secrets: 10, enhancedPacket: 6 } as const;
const SecretsType = { zigbeeNetworkKey: 0x5a4e574b, zigbeeApsKey: 0x5a415053 } as const;
const timestampResolutionOption = 9;
const timestampOffsetOption = 14;

interface Interface {
  readonly linkType: number;
  readonly ticksPerUs: number;
  /** What has to be added to its times. */
  readonly offsetUs: number;
}

/** A key that stands in the capture itself. */
export type OnKey = (key: Uint8Array, use: "network" | "link") => void;

/** Reads pcapng files, their Zigbee keys included. @see draft-ietf-opsawg-pcapng */
export function createPcapngReader(onKey: OnKey): FormatReader {
  let littleEndian = true;
  let interfaces: Interface[] = [];
  let number = 0;
  let unknownLinkType = -1;
  let anyRead = false;

  return {
    read(queue, onRecord) {
      while (queue.length >= 12) {
        const isSection = queue.uint32(0, false) === sectionHeaderBlock;
        if (isSection) littleEndian = queue.uint32(8, false) === 0x4d3c2b1a;
        const type = queue.uint32(0, littleEndian);
        const length = queue.uint32(4, littleEndian);
        if (length < 12 || length > 4 * recordBytesMax || length % 4 !== 0) {
          return { kind: "damaged", reason: `the block at byte ${queue.position} claims ${length} bytes` };
        }
        if (queue.length < length) return undefined;
        const block = queue.take(length);
        const view = new DataView(block.buffer, block.byteOffset + 8, length - 12);
        if (isSection) {
          interfaces = [];
        } else if (type === BlockType.interface) {
          const added = interfaceOf(view, littleEndian);
          interfaces.push(added);
          if (!isKnownLinkType(added.linkType)) unknownLinkType = added.linkType;
        } else if (
          (type === BlockType.enhancedPacket || type === BlockType.packet) &&
          view.byteLength >= 20
        ) {
          // The packet block of before has a shorter number of its interface.
          const isOld = type === BlockType.packet;
          const from = interfaces[isOld ? view.getUint16(0, littleEndian) : view.getUint32(0, littleEndian)];
          const ticks = view.getUint32(4, littleEndian) * 2 ** 32 + view.getUint32(8, littleEndian);
          const captured = Math.min(view.getUint32(12, littleEndian), view.byteLength - 20);
          const missing = Math.max(0, view.getUint32(16, littleEndian) - captured);
          number++;
          if (from !== undefined && isKnownLinkType(from.linkType)) {
            anyRead = true;
            const timeUs = ticks / from.ticksPerUs + from.offsetUs;
            onRecord(number, timeUs, from.linkType, block, 28, 28 + captured, missing);
          }
        } else if (type === BlockType.simplePacket && view.byteLength >= 4) {
          const [from] = interfaces;
          const sent = view.getUint32(0, littleEndian);
          const captured = Math.min(sent, view.byteLength - 4);
          number++;
          if (from !== undefined && isKnownLinkType(from.linkType)) {
            anyRead = true;
            onRecord(number, 0, from.linkType, block, 12, 12 + captured, sent - captured);
          }
        } else if (type === BlockType.secrets && view.byteLength >= 24) {
          const secretsType = view.getUint32(0, littleEndian);
          const key = block.slice(16, 32);
          if (secretsType === SecretsType.zigbeeNetworkKey) onKey(key, "network");
          else if (secretsType === SecretsType.zigbeeApsKey) onKey(key, "link");
        }
      }
      return undefined;
    },
    unfinished(queue) {
      if (queue.length > 0) return `the file ends within the block at byte ${queue.position}`;
      if (unknownLinkType === -1 || anyRead) return undefined;
      return unknownLinkTypeText(unknownLinkType);
    },
  };
}

function interfaceOf(view: DataView, littleEndian: boolean): Interface {
  if (view.byteLength < 8) return { linkType: -1, ticksPerUs: 1, offsetUs: 0 };
  let ticksPerUs = 1;
  let offsetUs = 0;
  for (let offset = 8; offset + 4 <= view.byteLength;) {
    const code = view.getUint16(offset, littleEndian);
    const length = view.getUint16(offset + 2, littleEndian);
    if (code === 0) break;
    if (code === timestampResolutionOption && length === 1 && offset + 4 < view.byteLength) {
      const raw = view.getUint8(offset + 4);
      ticksPerUs = (raw & 0x80 ? 2 ** (raw & 0x7f) : 10 ** raw) / 1e6;
    } else if (code === timestampOffsetOption && length === 8 && offset + 12 <= view.byteLength) {
      offsetUs = Number(view.getBigInt64(offset + 4, littleEndian)) * 1e6;
    }
    offset += 4 + ((length + 3) & ~3);
  }
  return { linkType: view.getUint16(0, littleEndian), ticksPerUs, offsetUs };
}
