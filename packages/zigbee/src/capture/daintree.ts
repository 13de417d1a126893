import { type ByteQueue } from "./byte-queue.ts";
import { type CapturedFrame, type CaptureProblem } from "./captured-frame.ts";

/** What a Daintree Sensor Network Analyzer file begins with. */
export const daintreeMagic = "#Format=";

/** No line of such a file is longer: 127 bytes of frame in hexadecimal and a dozen numbers. */
const lineBytesMax = 4_096;
const newline = 0x0a;

/** Reads `.dcf` files: a line each frame, `number seconds.micro length hex lqi fcs-valid rssi channel …`. */
export class DaintreeReader {
  #number = 0;

  /** Frames that were read. */
  get frames(): number {
    return this.#number;
  }

  read(queue: ByteQueue, onFrame: (frame: CapturedFrame) => void): CaptureProblem | undefined {
    for (;;) {
      const ahead = queue.peek(lineBytesMax);
      const end = ahead.indexOf(newline);
      if (end === -1) {
        if (ahead.length < lineBytesMax) return undefined;
        return { kind: "damaged", reason: `the line at byte ${queue.position} has no end` };
      }
      const problem = this.#line(new TextDecoder("latin1").decode(ahead.subarray(0, end)), onFrame);
      if (problem !== undefined) return problem;
      queue.take(end + 1);
    }
  }

  /** The last line may lack its end. Returns what is wrong with it. */
  end(queue: ByteQueue, onFrame: (frame: CapturedFrame) => void): CaptureProblem | undefined {
    return this.#line(new TextDecoder("latin1").decode(queue.take(queue.length)), onFrame);
  }

  #line(text: string, onFrame: (frame: CapturedFrame) => void): CaptureProblem | undefined {
    const line = text.trim();
    if (line === "" || line.startsWith("#")) return undefined;
    this.#number++;
    const [, seconds, length, hex, , valid, rssi, channel] = line.split(/\s+/);
    const time = /^(\d+)\.(\d+)$/.exec(seconds ?? "");
    if (time === null || hex === undefined || !/^([0-9a-f]{2})*$/i.test(hex)) {
      return { kind: "damaged", reason: `frame ${this.#number} is not a line of a Daintree capture` };
    }
    const bytes = Uint8Array.from(hex.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
    if (bytes.length !== Number(length)) {
      return {
        kind: "truncated",
        reason: `frame ${this.#number} has ${bytes.length} of ${length ?? "?"} bytes`,
      };
    }
    onFrame({
      number: this.#number,
      timeUs: Number(time[1]) * 1e6 + Number((time[2] ?? "").padEnd(6, "0").slice(0, 6)),
      // The analyzer says in a column of its own whether the check sequence was right, and puts anything in its place.
      bytes: bytes.subarray(0, Math.max(0, bytes.length - 2)),
      frameCheck: valid === "0" ? "bad" : "good",
      rssi: rssi === undefined ? undefined : Number(rssi),
      channel: channel === undefined ? undefined : Number(channel),
    });
    return undefined;
  }
}
