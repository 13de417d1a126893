import type { Log } from "@postern/core/log";
import type { SessionStore } from "@postern/core/session-store";

import type { Stats } from "./stats.ts";

const retryMs = 1_000;

/** Something with output to send at the end of the turn. */
export interface Flushable {
  /** Sends what has gathered; what `hold` was called for waits until group `group` is on disk. */
  flush(group: number): void;
  /** The groups up to `group` are on disk. */
  release(group: number): void;
}

/**
 * The end of an event-loop turn: one commit for all that was appended to the store, one write for each
 * connection with output. Output that promises durability (PUBACK, PUBREC, PUBCOMP, …) leaves only after its group is on disk.
 *
 *     turn n:   packets in ─► appends ─► flush: commit(n), write what needs no commit
 *     later:                                  done(n) ─► write what was held for n
 */
export class CommitLine {
  readonly #store: SessionStore;
  readonly #log: Log;
  readonly #stats: Stats;
  #dirty: Flushable[] = [];
  #holders: Flushable[] = [];
  #scheduled = false;
  #lastGroup = 0;
  /** The last group known to be on disk. */
  #durableGroup = 0;
  #retry: NodeJS.Timeout | undefined;
  /** Grows with every append: whoever compares it before and after knows whether an answer must wait. */
  appends = 0;
  /** The error of the last commit, as long as none has succeeded since: nothing durable may be promised. */
  failure: Error | undefined;
  /** Told when durability is lost and when it is back. */
  onHealthChange: (failure: Error | undefined) => void = () => {};
  readonly #flush = (): void => this.flush();

  constructor(store: SessionStore, log: Log, stats: Stats) {
    this.#store = store;
    this.#log = log;
    this.#stats = stats;
  }

  /** The group that appends go into now. */
  get openGroup(): number {
    return this.#lastGroup + 1;
  }

  /** Says that something was appended to the store in this turn. */
  touch(): void {
    this.appends += 1;
    this.schedule();
  }

  /** Has the turn end with a flush, also when no connection has output (timers append too). */
  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#flush);
  }

  /** Has `flushable` flushed at the end of this turn; to be called once a turn by each. */
  add(flushable: Flushable): void {
    this.#dirty.push(flushable);
    this.schedule();
  }

  /** Has `flushable` told when the group that it was given at `flush` is on disk. */
  addHolder(flushable: Flushable): void {
    this.#holders.push(flushable);
  }

  /** Ends the turn now. */
  flush(): void {
    this.#scheduled = false;
    const dirty = this.#dirty;
    this.#dirty = [];
    const commits = this.#store.dirty;
    if (commits) this.#lastGroup += 1;
    for (const flushable of dirty) flushable.flush(this.#lastGroup);
    if (commits) this.#commit();
    else if (this.#holders.length > 0) this.#releaseIfIdle();
  }

  /** Ends the turn and resolves when all groups are on disk, or when the last one failed. */
  async settle(): Promise<void> {
    this.flush();
    while (this.#durableGroup < this.#lastGroup && this.failure === undefined)
      await new Promise((resolve) => setImmediate(resolve));
  }

  close(): void {
    clearTimeout(this.#retry);
  }

  #commit(): void {
    const group = this.#lastGroup;
    const holders = this.#holders;
    this.#holders = [];
    this.#stats.commits += 1;
    this.#store.commit((error) => {
      if (error === undefined) this.#committed(group, holders);
      else this.#failed(error, holders);
    });
  }

  #committed(group: number, holders: readonly Flushable[]): void {
    this.#durableGroup = Math.max(this.#durableGroup, group);
    if (this.failure !== undefined) {
      this.failure = undefined;
      this.#log.info({}, "The data directory can be written again; acknowledgements go on");
      this.onHealthChange(undefined);
    }
    for (const holder of holders) holder.release(this.#durableGroup);
    this.#releaseIfIdle();
  }

  #failed(error: Error, holders: readonly Flushable[]): void {
    this.#stats.commitFailures += 1;
    this.#holders.push(...holders);
    if (this.failure === undefined) {
      this.#log.error(
        { error: error.message },
        "Cannot write to the data directory; nothing is acknowledged until it can",
      );
    }
    this.failure = error;
    this.onHealthChange(error);
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.#commit();
    }, retryMs).unref();
  }

  /** Output was held although nothing was appended after all: it goes out with the last group, if that is on disk. */
  #releaseIfIdle(): void {
    if (this.#durableGroup !== this.#lastGroup) return;
    const holders = this.#holders;
    this.#holders = [];
    for (const holder of holders) holder.release(this.#durableGroup);
  }
}
