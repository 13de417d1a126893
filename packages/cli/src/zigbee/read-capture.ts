import { type CapturedFrame, type CaptureProblem } from "@postern/zigbee/capture/captured-frame";
import { CaptureReader } from "@postern/zigbee/capture/capture-reader";
import { probedFramesMax, probeFrameCheck } from "@postern/zigbee/capture/probe-frame-check";
import { type Keyring } from "@postern/zigbee/keyring";
import { type FrameCheckFormat } from "@postern/zigbee/mac/frame-check";

import { type CaptureSource } from "./capture-source.ts";
import { type Progress } from "./progress.ts";

/** Reads a capture as often as is needed, with what the first reading found out about it. */
export class RepeatedCapture {
  readonly #source: CaptureSource;
  readonly #keyring: Keyring;
  readonly #signal: AbortSignal;
  readonly #progress: Progress;
  #frameCheck: FrameCheckFormat | undefined;
  #problem: CaptureProblem | undefined;

  constructor(parts: {
    readonly source: CaptureSource;
    /** Gets the keys that stand in the capture file. */
    readonly keyring: Keyring;
    readonly signal: AbortSignal;
    readonly progress: Progress;
    /** How frames of link type 195 end; `undefined`: to be found out. */
    readonly frameCheck: FrameCheckFormat | undefined;
  }) {
    this.#source = parts.source;
    this.#keyring = parts.keyring;
    this.#signal = parts.signal;
    this.#progress = parts.progress;
    this.#frameCheck = parts.frameCheck;
  }

  /** What ended the last reading early, or could not be used. */
  get problem(): CaptureProblem | undefined {
    return this.#problem;
  }

  /** Calls `onFrame` for every frame, from the first; when `until` is aborted, no further part of the file is read. */
  async read(onFrame: (frame: CapturedFrame) => void, until?: AbortSignal): Promise<void> {
    this.#frameCheck ??= await this.#probe();
    const signal = until === undefined ? this.#signal : AbortSignal.any([this.#signal, until]);
    try {
      await this.#pass(onFrame, this.#frameCheck, signal);
    } catch (thrown) {
      if (until?.aborted !== true || this.#signal.aborted) throw thrown;
    }
  }

  async #probe(): Promise<FrameCheckFormat> {
    const first: Uint8Array[] = [];
    const stopped = new AbortController();
    const signal = AbortSignal.any([this.#signal, stopped.signal]);
    const reader = new CaptureReader({ onFrame: ({ bytes }) => void first.push(bytes.slice()) }, "none");
    try {
      await this.#source.read((chunk) => {
        if (first.length < probedFramesMax) reader.push(chunk);
        else stopped.abort();
      }, signal);
    } catch (thrown) {
      if (!stopped.signal.aborted) throw thrown;
    }
    return probeFrameCheck(first.slice(0, probedFramesMax));
  }

  async #pass(
    onFrame: (frame: CapturedFrame) => void,
    frameCheck: FrameCheckFormat,
    signal: AbortSignal,
  ): Promise<void> {
    const sink = {
      onFrame,
      onKey: (key: Uint8Array, use: "network" | "link") =>
        void this.#keyring.add(key, use, { kind: "capture" }),
    };
    const reader = new CaptureReader(sink, frameCheck);
    this.#progress.begin();
    const broken = await this.#source.read((chunk, fileBytes) => {
      reader.push(chunk);
      this.#progress.add(fileBytes);
    }, signal);
    reader.end();
    this.#problem = broken === undefined ? reader.problem : { kind: "truncated", reason: broken };
  }
}
