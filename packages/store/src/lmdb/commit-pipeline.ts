import type { MessageNumber } from "@postern/core/session-store";

import type { OverlayEntry } from "./queue-overlay.ts";
import type { WriteResult } from "./writer.ts";

type Done = (error: Error | undefined) => void;

/** What puts rows on disk: `LmdbWriter`. One write at a time; `done` is called from a later event. */
export interface GroupWriter {
  write(chunks: Uint8Array<ArrayBuffer>[], done: (result: WriteResult) => void): void;
}

/** A closed group: its rows, and what can be let go of once they are on disk. */
export interface ClosedGroup {
  readonly group: number;
  readonly rows: Uint8Array<ArrayBuffer>;
  readonly entries: readonly OverlayEntry[];
  readonly bodies: readonly MessageNumber[];
}

/**
 * Puts closed groups on disk, in order. One write is under way at a time; groups that are closed meanwhile wait and
 * go together in the next one:
 *
 *   close, close, close ──► waiting ──► under way (one transaction) ──► settled, done, done, done
 *                              ▲                 │ failed
 *                              └─────────────────┘ done(error); written again, in order, with the next commit
 */
export class CommitPipeline {
  readonly #writer: GroupWriter;
  readonly #onSettled: (groups: readonly ClosedGroup[]) => void;
  #waiting: ClosedGroup[] = [];
  #underWay: ClosedGroup[] = [];
  #waitingDones: Done[] = [];
  #underWayDones: Done[] = [];
  /** Rows that came back from a failed write, before those of `waiting`. */
  #returned: Uint8Array<ArrayBuffer>[] = [];
  #returnedGroups: ClosedGroup[] = [];
  #isWriting = false;
  /** Nothing new is written any more. */
  #isHalted = false;
  #onQuiet: (() => void)[] = [];
  #settledGroup = 0;

  /** `onSettled` is told which groups are on disk now, before their commits are done. */
  constructor(writer: GroupWriter, onSettled: (groups: readonly ClosedGroup[]) => void) {
    this.#writer = writer;
    this.#onSettled = onSettled;
  }

  /** The last group that is known to be on disk. */
  get settledGroup(): number {
    return this.#settledGroup;
  }

  /** Whether everything closed so far is on disk. */
  get isSettled(): boolean {
    return !this.#isWriting && this.#waiting.length === 0 && this.#returned.length === 0;
  }

  add(group: ClosedGroup): void {
    this.#waiting.push(group);
  }

  /** `done` is called, in a later microtask at the earliest, when all groups added so far are on disk. */
  commit(done: Done): void {
    this.#waitingDones.push(done);
    this.launch();
  }

  /** Starts a write if none is under way and there is something to write. */
  launch(): void {
    if (this.#isWriting || this.#isHalted) return;
    const dones = this.#waitingDones;
    this.#waitingDones = [];
    if (this.#waiting.length === 0 && this.#returned.length === 0) {
      callAll(dones, undefined);
      return;
    }
    const chunks = this.#returned.concat(this.#waiting.map(({ rows }) => rows));
    this.#underWay = this.#returnedGroups.concat(this.#waiting);
    this.#underWayDones = dones;
    this.#waiting = [];
    this.#returned = [];
    this.#returnedGroups = [];
    this.#isWriting = true;
    this.#writer.write(chunks, (result) => this.#written(result));
  }

  /** Starts no write from now on. Resolves when none is under way. */
  async halt(): Promise<void> {
    this.#isHalted = true;
    if (!this.#isWriting) return;
    await new Promise<void>((resolve) => this.#onQuiet.push(resolve));
  }

  #written({ error, chunks }: WriteResult): void {
    const groups = this.#underWay;
    const dones = this.#underWayDones;
    this.#isWriting = false;
    this.#underWay = [];
    this.#underWayDones = [];
    if (error === undefined) {
      this.#settledGroup = groups.at(-1)?.group ?? this.#settledGroup;
      callAll(dones, undefined);
      this.#onSettled(groups);
    } else {
      this.#returned = chunks ?? [];
      this.#returnedGroups = groups;
      callAll(dones, error);
    }
    for (const resolve of this.#onQuiet.splice(0)) resolve();
    if (this.#waitingDones.length > 0) this.launch();
  }
}

/** Each in a microtask of its own: one that throws does not take the others' turn. */
function callAll(dones: readonly Done[], error: Error | undefined): void {
  for (const done of dones) queueMicrotask(() => done(error));
}
