import { readFileSync } from "node:fs";

/** How often a child is asked whether it is there. */
const beatMs = 1_000;

/** How many beats a child may leave unanswered before it counts as hung. */
export interface Patience {
  /** While it uses no processor time: it was stopped, or waits for what does not come. */
  readonly idleBeats: number;
  /** While it works, or waits for a processor or the disk; `Infinity` for a child that may be as busy as it likes. */
  readonly busyBeats: number;
}

/** What a process does, as its system sees it. */
export interface ProcessActivity {
  /** `R` runs or would like to, `D` waits for the disk, `S` sleeps, `T` or `t` was stopped. @see proc(5) */
  readonly state: string;
  /** Processor time that all its threads have used, in clock ticks. */
  readonly ticks: number;
}

/** `undefined` when there is no such process. */
export function processActivity(pid: number): ProcessActivity | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in brackets, which may hold anything.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined;
  }
}

/** A beat in which a process used less than this is one without work: a sleeping program does not even read a clock. */
const idleTicksMax = 1;

/**
 * Judges from beats whether a process hangs. It counts beats, not time: when all the machine or this process itself was frozen, no beats
 * were missed. Processor time and waiting for processor or disk are signs of life.
 */
export class HangJudge {
  readonly #patience: Patience;
  #unanswered = 0;
  #idle = 0;
  #ticks = 0;

  constructor(patience: Patience) {
    this.#patience = patience;
  }

  answered(): void {
    this.#unanswered = 0;
    this.#idle = 0;
  }

  /** One more beat. @returns whether the process hangs. */
  beat(activity: ProcessActivity | undefined): boolean {
    if (activity === undefined) return false;
    const works = "RD".includes(activity.state) || activity.ticks - this.#ticks > idleTicksMax;
    this.#ticks = activity.ticks;
    const { idleBeats, busyBeats } = this.#patience;
    // The one that is sent now can only be answered after.
    const hangs = this.#unanswered > busyBeats || this.#idle > idleBeats;
    this.#unanswered += 1;
    this.#idle = works ? 0 : this.#idle + 1;
    return hangs;
  }
}

export interface HeartbeatOptions {
  readonly pid: number;
  readonly patience: Patience;
  /** Asks the process, which answers with `answered`. */
  readonly ask: () => void;
  /** Called once. */
  readonly onHang: () => void;
}

/** Asks a process every second whether it is there. */
export class Heartbeat implements Disposable {
  readonly #judge: HangJudge;
  readonly #timer: NodeJS.Timeout;

  constructor({ pid, patience, ask, onHang }: HeartbeatOptions) {
    this.#judge = new HangJudge(patience);
    this.#timer = setInterval(() => {
      if (this.#judge.beat(processActivity(pid))) {
        this[Symbol.dispose]();
        onHang();
      } else {
        ask();
      }
    }, beatMs);
  }

  answered(): void {
    this.#judge.answered();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
