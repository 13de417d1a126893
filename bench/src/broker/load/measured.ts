import { Histogram } from "./histogram.ts";
import type { Figures } from "./job.ts";
import { memoryOf, threadNanosecondsOf } from "./process-figures.ts";

/** What is counted between two moments, and what it cost the server and this process. */
export class Measured {
  readonly latency = new Histogram();
  readonly #pids: readonly number[];
  #count = 0;
  #startedMs = 0;
  #threads: ReadonlyMap<string, number> = new Map();
  #generatorNanoseconds = 0;
  #running = false;

  constructor(pids: readonly number[]) {
    this.#pids = pids;
  }

  get running(): boolean {
    return this.#running;
  }

  start(count: number): void {
    this.#count = count;
    this.latency.clear();
    this.#running = true;
    this.#threads = threadNanosecondsOf(this.#pids);
    this.#generatorNanoseconds = ownNanoseconds();
    this.#startedMs = performance.now();
  }

  stop(count: number): Omit<Figures, "lost" | "more"> {
    const seconds = (performance.now() - this.#startedMs) / 1_000;
    const threads = Array.from(
      threadNanosecondsOf(this.#pids),
      ([thread, nanoseconds]) => nanoseconds - (this.#threads.get(thread) ?? 0),
    );
    const generatorNanoseconds = ownNanoseconds() - this.#generatorNanoseconds;
    this.#running = false;
    const at = (share: number): number => this.latency.quantile(share) ?? 0;
    return {
      count: count - this.#count,
      seconds,
      serverNanoseconds: threads.reduce((sum, nanoseconds) => sum + nanoseconds, 0),
      busiestNanoseconds: Math.max(0, ...threads),
      generatorNanoseconds,
      ...(this.latency.total === 0
        ? {}
        : { latencyMicroseconds: { p50: at(0.5), p99: at(0.99), p999: at(0.999) } }),
      residentBytes: memoryOf(this.#pids).residentBytes,
    };
  }
}

function ownNanoseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1_000;
}
