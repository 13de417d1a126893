import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

import type { Address } from "@postern/broker/testing/wire-client";

import { type TestServer, up } from "./postern.ts";

/** In bytes, after a garbage collection. */
export interface Memory {
  readonly heapBytes: number;
  /** Of the process's own, without the pages of mapped files. */
  readonly anonymousBytes: number;
  readonly residentBytes: number;
}

const preload = new URL("preload-memory.ts", import.meta.url).href;

/** A real server whose memory and counters can be asked for. */
export class MeasuredServer implements AsyncDisposable {
  readonly #server: TestServer;
  #asked = 0;

  private constructor(server: TestServer) {
    this.#server = server;
  }

  /** @param args Of `postern up`; the configuration must have metrics and a plain listener first. */
  static async start(args: readonly string[]): Promise<MeasuredServer> {
    return new MeasuredServer(await up(args, { env: { NODE_OPTIONS: `--import ${preload}` } }));
  }

  get address(): Address {
    return { host: "127.0.0.1", port: Number(new URL(this.#server.urls[0] ?? "").port) };
  }

  /** Collects garbage first. */
  async memory(): Promise<Memory> {
    this.#asked += 1;
    this.#server.process.signal("SIGUSR2");
    const said = new RegExp(`(?:[^]*?memory (\\{.*?\\}) end){${this.#asked}}`);
    const [, json = "{}"] = await this.#server.process.until(said);
    return asMemory(JSON.parse(json));
  }

  /** Bytes of the process's own memory now, garbage included. */
  anonymousBytes(): number {
    const status = readFileSync(`/proc/${this.#server.process.child.pid}/status`, "utf8");
    return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
  }

  /** The server's metrics by their names without `postern_`. */
  async counters(): Promise<ReadonlyMap<string, number>> {
    const response = await fetch(`${this.#server.metricsUrl ?? ""}/metrics`);
    const lines = (await response.text()).matchAll(/^postern_(\w+) (\S+)$/gm);
    return new Map(Array.from(lines, ([, name = "", value]) => [name, Number(value)]));
  }

  /** Waits until all these are 0; what is not after `withinMs`, by name. */
  async leftOver(names: readonly string[], withinMs: number): Promise<Readonly<Record<string, number>>> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const counters = await this.counters();
      const left = names.filter((name) => counters.get(name) !== 0);
      if (left.length === 0 || performance.now() > deadline)
        return Object.fromEntries(left.map((name) => [name, counters.get(name) ?? Number.NaN]));
      await delay(50);
    }
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    this.#server.process.signal("SIGKILL");
    await this.#server.process.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}

function asMemory(value: unknown): Memory {
  if (typeof value !== "object" || value === null) throw new TypeError("no memory was told");
  const of = (name: string): number => Number(Object.entries(value).find(([key]) => key === name)?.[1]);
  return {
    heapBytes: of("heapBytes"),
    anonymousBytes: of("anonymousBytes"),
    residentBytes: of("residentBytes"),
  };
}
