import type { Log } from "@postern/core/log";
import type { SessionStore } from "@postern/core/session-store";

import type { Stats } from "./stats.ts";

const retryMs = 1_000;
/** What an append counts for until it is on disk, besides the message it brings: about what the store holds of it. */
const appendBytes = 128;

/** Something with output to send at the end of the turn. */
export interface Flushable {
  /** Sends what has gathered; what `hold` was called for waits until group `group` is on disk, which it may be already. */
  flush(group: number, isOnDisk: boolean): void;
  /** The groups up to `group` are on disk. */
  release(group: number): void;
}

/** Somebody who was asked to append nothing more for a while. */
export interface Writer {
  /** The disk has caught up. */
  goOn(): void;
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
  readonly #pendingBytesMax: number;
  #dirty: Flushable[] = [];
  #holders: Flushable[] = [];
  #scheduled = false;
  #lastGroup = 0;
  /** The last group known to be on disk. */
  #durableGroup = 0;
  #retry: NodeJS.Timeout | undefined;
  /** Bytes that were appended and are not on disk; those in the open group; those in each group before it. */
  #pendingBytes = 0;
  #openBytes = 0;
  #pendingGroups: { readonly group: number; readonly bytes: number }[] = [];
  /** In the order in which they were stopped. */
  readonly #stopped = new Set<Writer>();
  /** Grows with every append: whoever compares it before and after knows whether an answer must wait. */
  appends = 0;
  /** The error of the last commit, as long as none has succeeded since: nothing durable may be promised. */
  failure: Error | undefined;
  /** Told when durability is lost and when it is back. */
  onHealthChange: (failure: Error | undefined) => void = () => {};
  /** Called at the end of a turn with something to commit: the last to append to its group. */
  beforeCommit: () => void = () => {};
  readonly #flush = (): void => this.flush();

  /** @param pendingBytesMax More than this must not wait for the disk: whoever appends is to stop then. */
  constructor(
    parts: { readonly store: SessionStore; readonly log: Log; readonly stats: Stats },
    pendingBytesMax: number,
  ) {
    this.#store = parts.store;
    this.#log = parts.log;
    this.#stats = parts.stats;
    this.#pendingBytesMax = pendingBytesMax;
  }

  /** The group that appends go into now. */
  get openGroup(): number {
    return this.#lastGroup + 1;
  }

  /** Says that something was appended to the store in this turn, with a message of `bytes`. */
  touch(bytes = 0): void {
    this.appends += 1;
    this.#openBytes += appendBytes + bytes;
    this.#pendingBytes += appendBytes + bytes;
    this.schedule();
  }

  /** The disk does not keep up with what is appended. */
  get isBehind(): boolean {
    return this.#pendingBytes > this.#pendingBytesMax;
  }

  /** Has the writer told when the disk has caught up. */
  stop(writer: Writer): void {
    this.#stopped.add(writer);
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
    if (commits) this.beforeCommit();
    if (commits) this.#lastGroup += 1;
    this.#closeGroup(commits);
    const isOnDisk = this.#durableGroup === this.#lastGroup;
    for (const flushable of dirty) flushable.flush(this.#lastGroup, isOnDisk);
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
    this.#caughtUp();
  }

  /** What was said to be appended waits for its group, or for nothing when nothing was after all. */
  #closeGroup(commits: boolean): void {
    if (commits) this.#pendingGroups.push({ group: this.#lastGroup, bytes: this.#openBytes });
    else this.#pendingBytes -= this.#openBytes;
    this.#openBytes = 0;
  }

  /** Lets those go on who were stopped, one after the other, as long as there is room for them. */
  #caughtUp(): void {
    let done = 0;
    for (const { group, bytes } of this.#pendingGroups) {
      if (group > this.#durableGroup) break;
      this.#pendingBytes -= bytes;
      done += 1;
    }
    this.#pendingGroups.splice(0, done);
    for (const writer of this.#stopped) {
      if (this.#pendingBytes > this.#pendingBytesMax / 2) return;
      this.#stopped.delete(writer);
      writer.goOn();
    }
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
