/** What is remembered of a frame that a sender has sent. */
export interface Sent {
  readonly frame: number;
  readonly timeUs: number;
  readonly macSequence: number;
  /** Length and integrity code of the protected part: equal in two frames means that they are the same. */
  readonly bytes: number;
  readonly mic: number;
}

/**
 * Powers of two, four times as many each time: how many counters in a row are remembered of whom sends more than one frame, of anybody
 * who sends that many, and at most.
 */
const slotsFirst = 64;
const slotsMin = 256;
const slotsMax = 16_384;

/** How many slots all senders together may take, at 24 bytes each. */
export class SlotBudget {
  left = 4_194_304;
}

/**
 * The last frames of one sender by frame counter. Each counter has one slot, so as many in a row are remembered as there are
 * slots; they grow with what the sender sends while the budget lasts. No object for each frame: every protected frame of a
 * capture passes through here.
 */
export class SentFrames {
  readonly #budget: SlotBudget;
  #slots = 0;
  #used = 0;
  /** The only frame, while there are no slots. */
  #only: { readonly counter: number; readonly sent: Sent } | undefined;
  #counters = new Uint32Array(0);
  /** 0: the slot is empty. */
  #frames = new Uint32Array(0);
  #mics = new Uint32Array(0);
  #times = new Float64Array(0);
  #sequences = new Int16Array(0);
  #lengths = new Uint16Array(0);

  constructor(budget: SlotBudget) {
    this.#budget = budget;
  }

  /** The frame that had this counter, if it is remembered. */
  get(counter: number): Sent | undefined {
    if (this.#slots === 0) return this.#only?.counter === counter ? this.#only.sent : undefined;
    const at = counter & (this.#slots - 1);
    const frame = this.#frames[at] ?? 0;
    if (frame === 0 || this.#counters[at] !== counter) return undefined;
    return {
      frame,
      timeUs: this.#times[at] ?? 0,
      macSequence: this.#sequences[at] ?? 0,
      bytes: this.#lengths[at] ?? 0,
      mic: this.#mics[at] ?? 0,
    };
  }

  set(counter: number, sent: Sent): void {
    if (this.#slots === 0) {
      const only = this.#only;
      if (only === undefined || only.counter === counter) {
        this.#only = { counter, sent };
        return;
      }
      this.#only = undefined;
      this.#grow(slotsFirst);
      this.set(only.counter, only.sent);
    }
    let at = counter & (this.#slots - 1);
    if (this.#frames[at] !== 0 && this.#used * 2 > this.#slots && this.#slots < slotsMax) {
      this.#grow(4 * this.#slots);
      at = counter & (this.#slots - 1);
    }
    if (this.#frames[at] === 0) this.#used++;
    this.#counters[at] = counter;
    this.#frames[at] = sent.frame;
    this.#mics[at] = sent.mic;
    this.#times[at] = sent.timeUs;
    this.#sequences[at] = sent.macSequence;
    this.#lengths[at] = sent.bytes;
  }

  clear(): void {
    this.#only = undefined;
    this.#frames.fill(0);
    this.#used = 0;
  }

  #grow(slots: number): void {
    const added = slots - this.#slots;
    // The first slots are for everybody: the number of senders has its own limit.
    if (slots > slotsMin && added > this.#budget.left) return;
    this.#budget.left -= added;
    const before = {
      counters: this.#counters,
      frames: this.#frames,
      mics: this.#mics,
      times: this.#times,
      sequences: this.#sequences,
      lengths: this.#lengths,
    };
    this.#slots = slots;
    this.#counters = new Uint32Array(slots);
    this.#frames = new Uint32Array(slots);
    this.#mics = new Uint32Array(slots);
    this.#times = new Float64Array(slots);
    this.#sequences = new Int16Array(slots);
    this.#lengths = new Uint16Array(slots);
    for (let from = 0; from < before.counters.length; from++) {
      if (before.frames[from] === 0) continue;
      const counter = before.counters[from] ?? 0;
      const at = counter & (slots - 1);
      this.#counters[at] = counter;
      this.#frames[at] = before.frames[from] ?? 0;
      this.#mics[at] = before.mics[from] ?? 0;
      this.#times[at] = before.times[from] ?? 0;
      this.#sequences[at] = before.sequences[from] ?? 0;
      this.#lengths[at] = before.lengths[from] ?? 0;
    }
  }
}
