import { Histogram } from "./histogram.ts";
import type { Figures } from "./job.ts";
import { cpuNanoseconds, memoryOf } from "./process-figures.ts";

/** What is counted between two moments, and what it cost the server and this process. */
export class Measured {
  readonly latency = new Histogram();
  readonly #pids: readonly number[];
  #count = 0;
  #startedMs = 0;
  #serverNanoseconds = 0;
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
    this.#serverNanoseconds = cpuNanoseconds(this.#pids);
    this.#generatorNanoseconds = ownNanoseconds();
    this.#startedMs = performance.now();
  }

  stop(count: number): Omit<Figures, "lost" | "more"> {
    const seconds = (performance.now() - this.#startedMs) / 1_000;
    const serverNanoseconds = cpuNanoseconds(this.#pids) - this.#serverNanoseconds;
    const generatorNanoseconds = ownNanoseconds() - this.#generatorNanoseconds;
    this.#running = false;
    const at = (share: number): number => this.latency.quantile(share) ?? 0;
    return {
      count: count - this.#count,
      seconds,
      serverNanoseconds,
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
