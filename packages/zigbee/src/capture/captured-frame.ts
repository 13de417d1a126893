/** A frame as a sniffer recorded it, freed from what the sniffer put around it. */
export interface CapturedFrame {
  /** Counts from 1, as Wireshark does, frames that cannot be read included. */
  readonly number: number;
  /** Microseconds since 1970, or since whatever the sniffer began to count at. */
  readonly timeUs: number;
  /** The MAC frame without its check sequence. */
  readonly bytes: Uint8Array;
  /** Whether the check sequence was right; `absent` when the capture has none; `cut` when it has the beginning of the frame only. */
  readonly frameCheck: "good" | "bad" | "absent" | "cut";
  /** dBm, where the capture says. */
  readonly rssi: number | undefined;
  readonly channel: number | undefined;
}

/** Why reading a capture ended early, or what in it could not be used. */
export interface CaptureProblem {
  readonly kind: "empty" | "unknown-format" | "unknown-link-type" | "no-frames" | "truncated" | "damaged";
  /** One sentence, with the place in the file. */
  readonly reason: string;
}

/** Whether all of a frame was recorded as it was sent, as far as the capture says. */
export function isWhole({ frameCheck }: CapturedFrame): boolean {
  return frameCheck !== "bad" && frameCheck !== "cut";
}
