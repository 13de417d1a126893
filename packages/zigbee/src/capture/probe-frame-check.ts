import { MacCommandId } from "../mac/mac-command.ts";
import { decodeMacFrame, MacFrameType } from "../mac/mac-frame.ts";
import { frameCheckMatches, type FrameCheckFormat, tiMetadata } from "../mac/frame-check.ts";

/** Frames that are looked at; a capture of a TI radio shows itself in the first ones. */
export const probedFramesMax = 200;
/** Frames whose length is known, after which it is believed that there are no check sequences. */
const knownFramesMin = 3;

/**
 * How the frames of link type 195 end, judged from the first of them as they stand in the file: `ti` when not one check
 * sequence is right and nearly all carry the mark of a TI radio; where none is right, `none` or `unchecked` when frames that have always the
 * same length show that there is nothing behind them, or something that is no check sequence; otherwise `crc`.
 */
export function probeFrameCheck(frames: readonly Uint8Array[]): FrameCheckFormat {
  if (frames.length === 0 || frames.some((bytes) => frameCheckMatches(bytes))) return "crc";
  const marked = frames.filter((bytes) => bytes.length > 2 && tiMetadata(bytes).crcOk).length;
  if (marked >= 0.8 * frames.length) return "ti";
  const behind = frames.map((bytes) => bytesBehind(bytes)).filter((count) => count !== undefined);
  const nothing = behind.filter((count) => count === 0).length;
  const two = behind.filter((count) => count === 2).length;
  if (nothing >= knownFramesMin && nothing > 4 * two) return "none";
  return two >= knownFramesMin && two > 4 * nothing ? "unchecked" : "crc";
}

/** How many bytes follow a frame of which it is known where it ends: an acknowledgement, a poll, a beacon request. */
function bytesBehind(bytes: Uint8Array): number | undefined {
  const mac = decodeMacFrame(bytes);
  if (mac.stopped !== undefined || mac.security) return undefined;
  if (mac.frameType === MacFrameType.acknowledgment) return bytes.length - 3;
  const id = bytes[mac.payloadStart];
  const endsThere = id === MacCommandId.dataRequest || id === MacCommandId.beaconRequest;
  return mac.frameType === MacFrameType.command && endsThere
    ? bytes.length - mac.payloadStart - 1
    : undefined;
}
