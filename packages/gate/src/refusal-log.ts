import type { Log } from "@postern/core/log";
import type { IpSource } from "@postern/knock/ip-address";
import { refusals, type Refusal } from "@postern/knock/verdict";

/** Lines in a minute, whatever the number of sources: the rest is one more line. */
const linesPerMinuteMax = 600;

/** Writes refused knocks to the log: one line for each source and minute, and so many lines a minute in all. */
export class RefusalLog {
  readonly #log: Log;
  readonly #logged = new Set<IpSource>();
  #minute = 0;
  #unlogged = 0;
  #unloggedSources = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  record(source: IpSource, reason: Refusal, device: string | undefined, nowMs: number): void {
    this.turn(nowMs);
    if (this.#logged.has(source)) {
      this.#unlogged += 1;
      return;
    }
    if (this.#logged.size >= linesPerMinuteMax) {
      this.#unlogged += 1;
      this.#unloggedSources += 1;
      return;
    }
    this.#logged.add(source);
    this.#log.warn({ source, reason, device, explanation: refusals[reason] }, "a knock was refused");
  }

  /** Says how many lines the last minute did without. Called now and then. */
  turn(nowMs: number): void {
    const minute = Math.floor(nowMs / 60_000);
    if (minute === this.#minute) return;
    this.#minute = minute;
    this.#logged.clear();
    if (this.#unloggedSources > 0) {
      const knocks = this.#unlogged;
      this.#log.warn({ knocks }, "more knocks were refused in the last minute, of too many sources to name");
    }
    this.#unlogged = 0;
    this.#unloggedSources = 0;
  }
}
