/*
 * When the process exits, Node stops its other threads wherever they are. A thread that is stopped between the begin
 * and the end of an LMDB transaction keeps a mutex, and the exit then waits for it for ever. So the exit waits until
 * the thread is outside of a transaction, and lets it begin no other.
 */

const BUSY = 0;
const STOP = 1;

/** A disk that takes longer than this is given up on: the process then ends as if it were killed. */
const WAIT_MS_MAX = 10_000;

const guards = new Set<Int32Array>();

/** The event loop's end: made for a thread, handed to it as `flags`, released when it is gone. */
export class ThreadGuard {
  readonly flags = new Int32Array(new SharedArrayBuffer(8));

  constructor() {
    if (guards.size === 0) process.on("exit", waitForThreads);
    guards.add(this.flags);
  }

  release(): void {
    guards.delete(this.flags);
    if (guards.size === 0) process.off("exit", waitForThreads);
  }
}

function waitForThreads(): void {
  for (const flags of guards) Atomics.store(flags, STOP, 1);
  for (const flags of guards) Atomics.wait(flags, BUSY, 1, WAIT_MS_MAX);
}

/** The thread's end: does `work`, out of which it will not be torn. @returns `undefined`, undone, when the process exits. */
export function runGuarded<Result>(flags: Int32Array, work: () => Result): Result | undefined {
  Atomics.store(flags, BUSY, 1);
  try {
    return Atomics.load(flags, STOP) === 1 ? undefined : work();
  } finally {
    Atomics.store(flags, BUSY, 0);
    Atomics.notify(flags, BUSY);
  }
}

/** Whether the process exits: work that takes long stops here and there to ask. */
export function isStopping(flags: Int32Array): boolean {
  return Atomics.load(flags, STOP) === 1;
}
