import { type CapturedFrame } from "@postern/zigbee/capture/captured-frame";
import { type Keyring } from "@postern/zigbee/keyring";

import { type Finding } from "../finding.ts";
import { auditZigbee } from "./audit.ts";
import { type Expectations } from "./expectations.ts";

/** Findings that are remembered, so that each is told once. */
const toldMax = 10_000;

/** What a watch is made with. */
export interface WatchOptions {
  readonly keyring: Keyring;
  readonly showKeys: boolean;
  readonly expected?: Expectations;
  /** How far back frames are kept, and how many at most. */
  readonly windowUs: number;
  readonly framesMax: number;
  /** After so long without it, a finding is told again. */
  readonly againUs: number;
}

/**
 * Applies the rules of the audit to a stream: keeps the frames of the last minutes and audits them again and again. Keys that were
 * found stay known. Memory is bounded by `framesMax`.
 */
export class Watch {
  readonly #options: WatchOptions;
  #frames: CapturedFrame[] = [];
  readonly #told = new Map<string, number>();
  #latestUs = 0;
  #isChanged = false;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Takes the next frame; its bytes are copied. */
  add(frame: CapturedFrame): void {
    // The clock of the sniffer was set back, or one time was wrong: what came before would have everything after it left out.
    if (frame.timeUs < this.#latestUs - this.#options.windowUs) this.#begin();
    this.#frames.push({ ...frame, bytes: frame.bytes.slice() });
    this.#latestUs = Math.max(this.#latestUs, frame.timeUs);
    this.#isChanged = true;
    const { framesMax } = this.#options;
    if (this.#frames.length > framesMax + framesMax / 4) this.#frames = this.#frames.slice(-framesMax);
  }

  #begin(): void {
    this.#frames = [];
    this.#latestUs = 0;
  }

  /** Frames that are kept now. */
  get size(): number {
    return this.#frames.length;
  }

  /** What was not told before, or not for a long time. */
  async look(): Promise<Finding[]> {
    if (!this.#isChanged) return [];
    this.#isChanged = false;
    const { windowUs, framesMax, againUs, ...audit } = this.#options;
    const from = this.#latestUs - windowUs;
    this.#frames = this.#frames.slice(-framesMax).filter(({ timeUs }) => timeUs >= from);
    const frames = this.#frames;
    const { findings } = await auditZigbee({
      ...audit,
      read: (onFrame) => {
        for (const frame of frames) onFrame(frame);
        return Promise.resolve();
      },
    });
    return findings.filter((finding) => {
      const place = `${finding.id} ${finding.subject}`;
      const before = this.#told.get(place);
      if (before === undefined && this.#told.size >= toldMax) this.#told.clear();
      this.#told.set(place, this.#latestUs);
      // As long as it lasts it is one alert.
      return before === undefined || this.#latestUs - before > againUs;
    });
  }
}
