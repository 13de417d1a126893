import { frameCheckMatches, type FrameCheckFormat, tiMetadata } from "../mac/frame-check.ts";

/** Frames that are looked at; a capture of a TI radio shows itself in the first ones. */
export const probedFramesMax = 200;

/**
 * How the frames of link type 195 end, judged from the first of them as they stand in the file: `ti` when not one check
 * sequence is right and nearly all carry the mark of a TI radio, otherwise `crc`.
 */
export function probeFrameCheck(frames: readonly Uint8Array[]): FrameCheckFormat {
  if (frames.length === 0 || frames.some((bytes) => frameCheckMatches(bytes))) return "crc";
  const marked = frames.filter((bytes) => bytes.length > 2 && tiMetadata(bytes).crcOk).length;
  return marked >= 0.8 * frames.length ? "ti" : "crc";
}
