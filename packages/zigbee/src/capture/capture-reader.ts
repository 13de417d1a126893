import { type FrameCheckFormat } from "../mac/frame-check.ts";
import { ByteQueue } from "./byte-queue.ts";
import { type CapturedFrame, type CaptureProblem } from "./captured-frame.ts";
import { DaintreeReader, daintreeMagic } from "./daintree.ts";
import { frameOfRecord, type RecordInfo } from "./link-type.ts";
import { createPcapReader, type FormatReader, isPcapMagic, type OnRecord } from "./pcap.ts";
import { createPcapngReader, type OnKey, sectionHeaderBlock } from "./pcapng.ts";

/** Longest of the beginnings that tell the formats apart. */
const magicBytes = daintreeMagic.length;

const noFrames: CaptureProblem = { kind: "no-frames", reason: "the capture has no frames" };

/** What the reader hands on while it reads. Frames are views: they are valid until `push` returns. */
export interface CaptureSink {
  readonly onFrame: (frame: CapturedFrame) => void;
  /** A key that stands in the capture itself (pcapng). */
  readonly onKey?: OnKey;
}

/**
 * Reads a capture as its bytes come, in constant memory: pcap (micro- and nanoseconds, both byte orders), pcapng, Daintree
 * `.dcf`. Compressed files are for the caller to expand. Never throws for what it reads: see `problem`.
 */
export class CaptureReader {
  readonly #queue = new ByteQueue();
  readonly #sink: CaptureSink;
  /** One function for the whole capture: the engine gives up code that it made for another. */
  readonly #onRecord: OnRecord;
  #format: FormatReader | DaintreeReader | undefined;
  #problem: CaptureProblem | undefined;
  #unreadable = 0;
  #readable = 0;

  /** `frameCheck`: how the frames of link type 195 end; `crc` unless the sniffer was a TI radio. */
  constructor(sink: CaptureSink, frameCheck: FrameCheckFormat = "crc") {
    this.#sink = sink;
    this.#onRecord = (number, timeUs, linkType, bytes, start, end, missing) => {
      const info: RecordInfo = { number, timeUs, linkType, frameCheck, missing };
      const frame = frameOfRecord(bytes, start, end, info);
      if (frame === undefined) {
        this.#unreadable++;
      } else {
        this.#readable++;
        this.#sink.onFrame(frame);
      }
    };
  }

  /** Why reading ended early; what came before it was handed on. */
  get problem(): CaptureProblem | undefined {
    return this.#problem;
  }

  /** Records that were too short to hold a frame, or packets that carry none. */
  get unreadableRecords(): number {
    return this.#unreadable;
  }

  /** Reads on; `chunk` may be used again afterwards. After a problem the rest is ignored. */
  push(chunk: Uint8Array): void {
    if (this.#problem !== undefined || chunk.length === 0) return;
    this.#queue.push(chunk);
    this.#advance();
    this.#queue.keep();
  }

  /** The file has ended: finds out whether it may end here. */
  end(): void {
    if (this.#problem !== undefined) return;
    if (this.#format === undefined) {
      const empty = this.#queue.length === 0 && this.#queue.position === 0;
      this.#problem = empty
        ? { kind: "empty", reason: "the capture is empty" }
        : { kind: "unknown-format", reason: "the file is neither pcap, pcapng nor a Daintree capture" };
      return;
    }
    if (this.#format instanceof DaintreeReader) {
      this.#problem = this.#format.end(this.#queue, this.#sink.onFrame);
      if (this.#format.frames === 0) this.#problem ??= noFrames;
      return;
    }
    const unfinished = this.#format.unfinished(this.#queue);
    if (unfinished === undefined) {
      if (this.#readable > 0) return;
      if (this.#unreadable === 0) {
        this.#problem = noFrames;
        return;
      }
      const reason = `none of the ${this.#unreadable} packets of the capture is or carries a frame of IEEE 802.15.4`;
      this.#problem = { kind: "no-frames", reason };
      return;
    }
    const kind = unfinished.startsWith("link type") ? "unknown-link-type" : "truncated";
    this.#problem = { kind, reason: unfinished };
  }

  #advance(): void {
    if (this.#format === undefined) {
      if (this.#queue.length < magicBytes) return;
      this.#format = this.#recognized();
      if (this.#format === undefined) {
        const reason = "the file is neither pcap, pcapng nor a Daintree capture";
        this.#problem = { kind: "unknown-format", reason };
        return;
      }
    }
    if (this.#format instanceof DaintreeReader) {
      this.#problem = this.#format.read(this.#queue, this.#sink.onFrame);
      return;
    }
    this.#problem = this.#format.read(this.#queue, this.#onRecord);
  }

  #recognized(): FormatReader | DaintreeReader | undefined {
    const magic = this.#queue.uint32(0, false);
    if (isPcapMagic(magic)) return createPcapReader();
    if (magic === sectionHeaderBlock) return createPcapngReader(this.#sink.onKey ?? (() => undefined));
    const text = new TextDecoder("latin1").decode(this.#queue.peek(magicBytes));
    return text === daintreeMagic ? new DaintreeReader() : undefined;
  }
}
