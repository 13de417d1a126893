import { type CapturedFrame } from "@postern/zigbee/capture/captured-frame";
import { pcapngHeader, pcapngKey, pcapngRecord } from "@postern/zigbee/capture/pcapng-writer";
import { LinkType } from "@postern/zigbee/capture/link-type";
import { pcapHeader, pcapRecord } from "@postern/zigbee/capture/pcap-writer";

import { type RecordedFrame, type Simulation } from "./simulation.ts";

/** When simulated time begins, for tools that want a date: 2026-01-01. */
const epochUs = 1_767_225_600_000_000;

/** A sniffer that stands at a place says how strong each frame was. */
function linkTypeOf(frames: readonly RecordedFrame[]): number {
  return frames[0]?.rssi === undefined ? LinkType.withFcs : LinkType.tap;
}

/** What the sniffer recorded, as a pcap file. */
export function recordingPcap(frames: readonly RecordedFrame[]): Uint8Array {
  const records = frames.map((frame) => pcapRecord(epochUs + frame.timeUs, frame.bytes, frame));
  return Buffer.concat([pcapHeader(linkTypeOf(frames)), ...records]);
}

/** The same as a pcapng file, with the keys in it that its readers need. Secrets: of a simulation, of nobody else. */
export function recordingPcapng({ frames, keys, scenario }: Simulation): Uint8Array {
  const parts = [pcapngHeader(linkTypeOf(frames))];
  for (const { use, bytes } of keys) {
    if (use !== "master") parts.push(pcapngKey(bytes, use, scenario.pan));
  }
  for (const frame of frames) parts.push(pcapngRecord(epochUs + frame.timeUs, frame.bytes, frame));
  return Buffer.concat(parts);
}

/** The same for our own auditor. */
export function recordingFrames(frames: readonly RecordedFrame[]): CapturedFrame[] {
  return frames.map(({ timeUs, bytes, damaged, rssi, channel }, index) => ({
    number: index + 1,
    timeUs: epochUs + timeUs,
    bytes,
    frameCheck: damaged ? "bad" : "good",
    rssi,
    channel,
  }));
}

/** The keys of a run as Wireshark keeps them (`zigbee_pc_keys` in its configuration folder). Secrets: of a simulation, of nobody else. */
export function wiresharkKeys({ keys }: Simulation): string {
  const lines = keys
    .filter(({ use }) => use !== "master")
    .map(({ name, bytes }) => {
      const text = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
      return `"${text}","Normal","${name}"\n`;
    });
  return lines.join("");
}
