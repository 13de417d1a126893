import { type CaptureFacts } from "./survey.ts";

/**
 * Answers what detectors ask about a whole capture before it was read, from its beginning, and remembers what was asked: so that one
 * reading is enough where the whole turns out to be as its beginning was.
 */
export class Forecast implements CaptureFacts {
  readonly #beginning: CaptureFacts;
  readonly #zigbee = new Map<number, boolean>();
  readonly #protected = new Map<number, boolean>();
  /** Key sequence numbers have eight bits: PAN and sequence in one number. */
  readonly #opened = new Map<number, boolean>();
  readonly hasTimeBase: boolean;
  readonly hasPreciseTimes: boolean;
  readonly hasFrameChecks: boolean;

  constructor(beginning: CaptureFacts) {
    this.#beginning = beginning;
    this.hasTimeBase = beginning.hasTimeBase;
    this.hasPreciseTimes = beginning.hasPreciseTimes;
    this.hasFrameChecks = beginning.hasFrameChecks;
  }

  isZigbee(pan: number): boolean {
    let answer = this.#zigbee.get(pan);
    if (answer === undefined) this.#zigbee.set(pan, (answer = this.#beginning.isZigbee(pan)));
    return answer;
  }

  isProtected(pan: number): boolean {
    const answer = this.#beginning.isProtected(pan);
    this.#protected.set(pan, answer);
    return answer;
  }

  isOpened(pan: number, keySequence: number): boolean {
    const answer = this.#beginning.isOpened(pan, keySequence);
    this.#opened.set(pan * 0x100 + keySequence, answer);
    return answer;
  }

  /** Whether the whole capture gives every answer that was given. */
  holds(whole: CaptureFacts): boolean {
    return (
      this.hasTimeBase === whole.hasTimeBase &&
      this.hasPreciseTimes === whole.hasPreciseTimes &&
      this.hasFrameChecks === whole.hasFrameChecks &&
      [...this.#zigbee].every(([pan, answer]) => whole.isZigbee(pan) === answer) &&
      [...this.#protected].every(([pan, answer]) => whole.isProtected(pan) === answer) &&
      [...this.#opened].every(([at, answer]) => whole.isOpened(at >> 8, at & 0xff) === answer)
    );
  }
}
