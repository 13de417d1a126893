import { frameCheckMatches } from "../mac/frame-check.ts";
import { type CaptureProblem } from "./captured-frame.ts";
import { CaptureReader, type CaptureSink } from "./capture-reader.ts";
import { probeFrameCheck } from "./probe-frame-check.ts";

/** Frames that are waited for when none of the first ones shows how frames end. */
const probedFrames = 20;

/** Reads a capture that can be read only once, as it comes: its first frames are held back until they show how frames end. */
export class LiveReader {
  readonly #sink: CaptureSink;
  readonly #first: Uint8Array[] = [];
  readonly #held: Uint8Array[] = [];
  readonly #probe: CaptureReader;
  #reader: CaptureReader | undefined;

  constructor(sink: CaptureSink) {
    this.#sink = sink;
    this.#probe = new CaptureReader({ onFrame: ({ bytes }) => void this.#first.push(bytes.slice()) }, "none");
  }

  /** Why reading ended early; what came before it was handed on. */
  get problem(): CaptureProblem | undefined {
    return this.#reader === undefined ? this.#probe.problem : this.#reader.problem;
  }

  push(chunk: Uint8Array): void {
    if (this.#reader !== undefined) {
      this.#reader.push(chunk);
      return;
    }
    this.#held.push(chunk.slice());
    this.#probe.push(chunk);
    const isKnown =
      this.#first.length >= probedFrames || this.#first.some((bytes) => frameCheckMatches(bytes));
    if (isKnown) this.#begin();
  }

  end(): void {
    this.#begin().end();
  }

  #begin(): CaptureReader {
    if (this.#reader !== undefined) return this.#reader;
    const reader = new CaptureReader(this.#sink, probeFrameCheck(this.#first));
    this.#reader = reader;
    for (const chunk of this.#held.splice(0)) reader.push(chunk);
    return reader;
  }
}
