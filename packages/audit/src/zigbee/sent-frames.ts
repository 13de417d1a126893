/** What is remembered of a frame that a sender has sent. */
export interface Sent {
  readonly frame: number;
  readonly timeUs: number;
  readonly macSequence: number;
  /** Length and integrity code of the protected part: equal in two frames means that they are the same. */
  readonly bytes: number;
  readonly mic: number;
}

/** A power of two: how many counters in a row are remembered. */
const slotCount = 256;
const fields = 6;

/**
 * The last frames of one sender by frame counter. Each counter has one slot, so 256 in a row are remembered; 12 KB and no
 * object for each frame, since every protected frame of a capture passes through here.
 */
export class SentFrames {
  readonly #slots = new Float64Array(slotCount * fields).fill(-1);

  /** The frame that had this counter, if it is remembered. */
  get(counter: number): Sent | undefined {
    const at = (counter % slotCount) * fields;
    const slots = this.#slots;
    if (slots[at] !== counter) return undefined;
    return {
      frame: slots[at + 1] ?? 0,
      timeUs: slots[at + 2] ?? 0,
      macSequence: slots[at + 3] ?? 0,
      bytes: slots[at + 4] ?? 0,
      mic: slots[at + 5] ?? 0,
    };
  }

  set(counter: number, sent: Sent): void {
    const at = (counter % slotCount) * fields;
    const slots = this.#slots;
    slots[at] = counter;
    slots[at + 1] = sent.frame;
    slots[at + 2] = sent.timeUs;
    slots[at + 3] = sent.macSequence;
    slots[at + 4] = sent.bytes;
    slots[at + 5] = sent.mic;
  }

  clear(): void {
    this.#slots.fill(-1);
  }
}
