import { spawn, type ChildProcess } from "node:child_process";
import { setPriority } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

import type { Log } from "@postern/core/log";

import { Heartbeat, type Patience } from "./heartbeat.ts";

/** What a child says when it has begun to do its work. */
const readyMessage = "ready";
/** What a child is told to end. */
const stopMessage = "stop";
/** What a child is asked every second, and what it answers. */
const pingMessage = "are you there";
const pongMessage = "I am here";

/** How long a child may take to end before it is killed. */
const stopMs = 10_000;
/** How long to wait before one that died is started again: doubled each time, until it has lived for a while. */
const restartMsMin = 100;
const restartMsMax = 5_000;
const settledMs = 60_000;

/** How a child ended. */
export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildOptions {
  /** For the log. */
  readonly name: string;
  readonly command: readonly string[];
  readonly log: Log;
  /** From -20, before all others, to 19; where it may not be chosen, that of this process. */
  readonly priority?: number;
  /** When it counts as hung, and is ended and started again. */
  readonly patience: Patience;
}

/** A process that is started again when it dies or hangs. Its standard streams are ours; it ends when we do, whatever ends us. */
export class Child {
  readonly #options: ChildOptions;
  /** Resolves when the child has ended for good: because it was told to, ended by itself, or could not begin. */
  readonly ended: Promise<ChildEnd>;
  readonly #ended = Promise.withResolvers<ChildEnd>();
  readonly #ready = Promise.withResolvers<boolean>();
  #process: ChildProcess | undefined;
  #heartbeat: Heartbeat | undefined;
  #stopping = false;
  #wasReady = false;
  #restartMs = restartMsMin;

  constructor(options: ChildOptions) {
    this.#options = options;
    this.ended = this.#ended.promise;
    this.#start();
  }

  /** Whether it has begun to do its work; false when it ended instead. */
  get ready(): Promise<boolean> {
    return this.#ready.promise;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Has it end, and waits for that. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#process;
    if (child === undefined) {
      this.#finish({ code: 0, signal: null });
      return;
    }
    if (child.connected) child.send(stopMessage);
    else child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), stopMs);
    await this.ended;
    clearTimeout(timer);
  }

  /** Passes on a signal that asks for something else than the end. */
  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  #start(): void {
    const { command, name, log } = this.#options;
    const [file = "", ...args] = command;
    const startedMs = performance.now();
    const child = spawn(file, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#process = child;
    prefer(child, this.#options.priority);
    child.on("message", (message) => {
      if (message === pongMessage) this.#heartbeat?.answered();
      if (message !== readyMessage) return;
      this.#wasReady = true;
      this.#ready.resolve(true);
      this.#heartbeat = this.#watch(child);
    });
    child.on("error", (error) => {
      log.error({ error: error.message }, `the ${name} could not be started`);
      if (child.pid === undefined) void this.#onEnd({ code: 1, signal: null }, startedMs);
    });
    child.on("exit", (code, signal) => void this.#onEnd({ code, signal }, startedMs));
  }

  #watch(child: ChildProcess): Heartbeat | undefined {
    const { name, log, patience } = this.#options;
    if (child.pid === undefined) return undefined;
    return new Heartbeat({
      pid: child.pid,
      patience,
      ask: () => {
        // One that just ended says so by itself.
        if (child.connected) child.send(pingMessage, () => undefined);
      },
      onHang: () => {
        log.error({ pid: child.pid }, `the ${name} does not answer any more; it is ended and started again`);
        child.kill("SIGKILL");
      },
    });
  }

  async #onEnd(end: ChildEnd, startedMs: number): Promise<void> {
    const { name, log } = this.#options;
    this.#process = undefined;
    this.#heartbeat?.[Symbol.dispose]();
    this.#heartbeat = undefined;
    // What never began would not begin the next time either, and has said why.
    if (this.#stopping || !this.#wasReady || end.code === 0) return this.#finish(end);
    if (performance.now() - startedMs > settledMs) this.#restartMs = restartMsMin;
    log.error({ ...end, restartMs: this.#restartMs }, `the ${name} died; it is started again`);
    await delay(this.#restartMs);
    this.#restartMs = Math.min(this.#restartMs * 2, restartMsMax);
    if (this.#stopping) this.#finish(end);
    else this.#start();
  }

  #finish(end: ChildEnd): void {
    this.#ready.resolve(false);
    this.#ended.resolve(end);
  }
}

function prefer({ pid }: ChildProcess, priority: number | undefined): void {
  if (pid === undefined || priority === undefined) return;
  try {
    setPriority(pid, priority);
  } catch {
    // A container may withhold CAP_SYS_NICE, and a process that has just died has no priority.
  }
}

/** In a child: tells the parent that work has begun. */
export function tellReady(): void {
  process.send?.(readyMessage);
}

/** In a child: aborts when the parent says stop, or is gone. */
export function toldToStop(): AbortSignal {
  const controller = new AbortController();
  process.on("message", (message) => {
    if (message === stopMessage) controller.abort();
    else if (message === pingMessage) process.send?.(pongMessage);
  });
  process.on("disconnect", () => controller.abort());
  return controller.signal;
}
