import {
  type Encapsulated,
  frameInEthernet,
  frameInIp,
  frameInLinuxCooked,
  frameInLinuxCooked2,
  frameInLoopback,
  frameInZep,
} from "./encapsulation.ts";
import { frameCheckMatches, type FrameCheckFormat, tiMetadata } from "../mac/frame-check.ts";
import { type CapturedFrame } from "./captured-frame.ts";
import { TapCheckSequence, TapItem } from "./recorded-frame.ts";

/** Link types that hold frames of IEEE 802.15.4, or packets that can. @see https://www.tcpdump.org/linktypes.html */
export const LinkType = {
  loopback: 0,
  ethernet: 1,
  rawIp: 101,
  linuxCooked: 113,
  withFcs: 195,
  nonAskPhy: 215,
  ipv4: 228,
  ipv6: 229,
  noFcs: 230,
  linuxCooked2: 276,
  tap: 283,
} as const;

/** What a reader says of a link type that it does not know. */
export function unknownLinkTypeText(linkType: number): string {
  return `link type ${linkType} is not one of IEEE 802.15.4 (195, 215, 230, 283) or of packets that can carry it (0, 1, 101, 113, 228, 229, 276)`;
}

/** Whether frames of this link type can be read. */
export function isKnownLinkType(linkType: number): boolean {
  return Object.values<number>(LinkType).includes(linkType);
}

const frameCheckBytes = 2;

/** What a record says about its frame. */
export interface RecordInfo {
  readonly number: number;
  readonly timeUs: number;
  readonly linkType: number;
  /** How frames of link type 195 end, where sniffers differ. */
  readonly frameCheck: FrameCheckFormat;
  /** Bytes of the record that the sniffer did not keep. */
  readonly missing: number;
}

/**
 * The frame of the record in `bytes[start…end)`, or `undefined` when it is too short for what its link type puts around it, or carries
 * none.
 */
export function frameOfRecord(
  bytes: Uint8Array,
  start: number,
  end: number,
  info: RecordInfo,
): CapturedFrame | undefined {
  // Nearly all captures are of this kind, and making a view costs as much as decoding what is in it: one each frame.
  if (info.linkType === LinkType.withFcs && info.frameCheck === "crc" && info.missing === 0) {
    if (end - start < 3) return undefined;
    const verdict = frameCheckMatches(bytes, start, end) ? "good" : "bad";
    return frame(bytes.subarray(start, end - 2), info, verdict);
  }
  const record = bytes.subarray(start, end);
  switch (info.linkType) {
    case LinkType.withFcs:
      if (info.missing > 0 && info.frameCheck !== "none") return cutFrame(record, info);
      return info.frameCheck === "ti" ? tiFrame(record, info) : checkedFrame(record, info);
    case LinkType.noFcs:
      return frame(record, info, info.missing > 0 ? "cut" : "absent");
    case LinkType.nonAskPhy:
      return phyFrame(record, info);
    case LinkType.tap:
      return tapFrame(record, info);
    case LinkType.ethernet:
      return encapsulatedFrame(frameInEthernet(record), info);
    case LinkType.loopback:
      return encapsulatedFrame(frameInLoopback(record), info);
    case LinkType.linuxCooked2:
      return encapsulatedFrame(frameInLinuxCooked2(record), info);
    case LinkType.linuxCooked:
      return encapsulatedFrame(frameInLinuxCooked(record), info);
    case LinkType.rawIp:
    case LinkType.ipv4:
    case LinkType.ipv6:
      return encapsulatedFrame(frameInIp(record), info);
    default:
      return undefined;
  }
}

/** The frame in a datagram of the Zigbee Encapsulation Protocol, or `undefined` when it carries none. */
export function frameOfZep(datagram: Uint8Array, info: RecordInfo): CapturedFrame | undefined {
  return encapsulatedFrame(frameInZep(datagram), info);
}

function encapsulatedFrame(found: Encapsulated | undefined, info: RecordInfo): CapturedFrame | undefined {
  if (found === undefined) return undefined;
  const { bytes, channel } = found;
  let { frameCheck } = found;
  // Linux says nowhere whether the radio left the check sequence in the frame.
  if (frameCheck === "crc-or-none") frameCheck = frameCheckMatches(bytes) ? "crc" : "none";
  if (frameCheck === "ti") return tiFrame(bytes, info);
  return checkedFrame(bytes, { ...info, frameCheck }, undefined, channel);
}

function frame(
  bytes: Uint8Array,
  info: RecordInfo,
  frameCheck: CapturedFrame["frameCheck"],
  rssi?: number,
  channel?: number,
): CapturedFrame {
  return { number: info.number, timeUs: info.timeUs, bytes, frameCheck, rssi, channel };
}

function checkedFrame(
  record: Uint8Array,
  info: RecordInfo,
  rssi?: number,
  channel?: number,
): CapturedFrame | undefined {
  if (info.frameCheck === "none") return frame(record, info, "absent", rssi, channel);
  if (info.missing > 0) return cutFrame(record, info, rssi, channel);
  if (record.length < 3) return undefined;
  if (info.frameCheck === "unchecked") return frame(record.subarray(0, -2), info, "absent", rssi, channel);
  const verdict = frameCheckMatches(record) ? "good" : "bad";
  return frame(record.subarray(0, -2), info, verdict, rssi, channel);
}

/** A frame whose last bytes were not kept: some sniffers leave out the check sequence and count it. */
function cutFrame(
  record: Uint8Array,
  info: RecordInfo,
  rssi?: number,
  channel?: number,
): CapturedFrame | undefined {
  if (info.missing > frameCheckBytes) return frame(record, info, "cut", rssi, channel);
  const end = record.length - (frameCheckBytes - info.missing);
  return end < 1 ? undefined : frame(record.subarray(0, end), info, "absent", rssi, channel);
}

function tiFrame(record: Uint8Array, info: RecordInfo): CapturedFrame | undefined {
  if (record.length < 3) return undefined;
  const { rssi, crcOk } = tiMetadata(record);
  return frame(record.subarray(0, -2), info, crcOk ? "good" : "bad", rssi);
}

/** Four zeros, start of frame delimiter 0xa7, length, frame with FCS. */
function phyFrame(record: Uint8Array, info: RecordInfo): CapturedFrame | undefined {
  const length = (record[5] ?? 0) & 0x7f;
  if (record.length < 6 + length || record[4] !== 0xa7) return undefined;
  return checkedFrame(record.subarray(6, 6 + length), { ...info, frameCheck: "crc" });
}

/** Version 0, length of the header, then type-length-value items padded to four bytes, then the frame. */
function tapFrame(record: Uint8Array, info: RecordInfo): CapturedFrame | undefined {
  if (record.length < 4 || record[0] !== 0) return undefined;
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  const headerBytes = view.getUint16(2, true);
  if (headerBytes < 4 || headerBytes > record.length) return undefined;
  let fcsType: number = TapCheckSequence.none;
  let rssi: number | undefined;
  let channel: number | undefined;
  for (let offset = 4; offset + 4 <= headerBytes;) {
    const type = view.getUint16(offset, true);
    const length = view.getUint16(offset + 2, true);
    const value = offset + 4;
    if (value + length > headerBytes) break;
    if (type === TapItem.checkSequence && length >= 1) fcsType = view.getUint8(value);
    else if (type === TapItem.strength && length === 4) rssi = view.getFloat32(value, true);
    else if (type === TapItem.channel && length >= 2) channel = view.getUint16(value, true);
    offset = value + ((length + 3) & ~3);
  }
  const bytes = record.subarray(headerBytes);
  if (fcsType === TapCheckSequence.crc16)
    return checkedFrame(bytes, { ...info, frameCheck: "crc" }, rssi, channel);
  if (info.missing > 0) return frame(bytes, info, "cut", rssi, channel);
  const end = fcsType === TapCheckSequence.crc32 ? Math.max(0, bytes.length - 4) : bytes.length;
  return frame(bytes.subarray(0, end), info, "absent", rssi, channel);
}
