import { readdirSync, readFileSync } from "node:fs";

/** Nanoseconds of processor time that processes have had with all their threads. Those that are gone count nothing. */
export function cpuNanoseconds(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    try {
      for (const thread of readdirSync(`/proc/${pid}/task`)) sum += threadNanoseconds(pid, thread);
    } catch {
      // It has ended.
    }
  }
  return sum;
}

/** The same for each thread, by process and thread. */
export function threadNanosecondsOf(pids: readonly number[]): ReadonlyMap<string, number> {
  const threads = new Map<string, number>();
  for (const pid of pids) {
    try {
      for (const thread of readdirSync(`/proc/${pid}/task`))
        threads.set(`${pid}/${thread}`, threadNanoseconds(pid, thread));
    } catch {
      // It has ended.
    }
  }
  return threads;
}

/** The scheduler's own account of a thread: its first number is nanoseconds on a processor. */
function threadNanoseconds(pid: number, thread: string): number {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[0]);
  } catch {
    return 0;
  }
}

/** Bytes of memory that processes hold: resident, of that what is their own (not mapped from files), and the most that was resident. */
export function memoryOf(pids: readonly number[]): {
  readonly residentBytes: number;
  readonly anonymousBytes: number;
  readonly peakBytes: number;
} {
  let residentBytes = 0;
  let anonymousBytes = 0;
  let peakBytes = 0;
  for (const pid of pids) {
    const status = statusOf(pid);
    residentBytes += kilobytes(status, "VmRSS") * 1_024;
    anonymousBytes += kilobytes(status, "RssAnon") * 1_024;
    peakBytes += kilobytes(status, "VmHWM") * 1_024;
  }
  return { residentBytes, anonymousBytes, peakBytes };
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "latin1");
  } catch {
    return "";
  }
}

function kilobytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0);
}
