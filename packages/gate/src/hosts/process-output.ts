import type { ChildProcess } from "node:child_process";

import { HostsError } from "../errors.ts";

/** How long a program is waited for to write what it should. */
const patienceMs = 60_000;

/** What a process writes, and when it has written something. Its streams must be pipes. */
export class ProcessOutput {
  readonly #command: string;
  readonly #waiting = new Set<() => void>();
  #stdout = "";
  #stderr = "";
  #isOver = false;

  constructor(child: ChildProcess, command: string) {
    this.#command = command;
    child.stdout
      ?.setEncoding("utf8")
      .on("data", (text: string) => this.#change(() => (this.#stdout += text)));
    child.stderr
      ?.setEncoding("utf8")
      .on("data", (text: string) => this.#change(() => (this.#stderr += text)));
    // One that could not be started says why, as a shell would.
    child.on("error", ({ message }) => this.#end(message));
    child.on("close", () => this.#end(""));
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Whether it has ended, or never began. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Waits until both streams together match, for a minute. Rejects with `HostsError` when it ends before, or writes nothing of the kind. */
  async until(pattern: RegExp): Promise<RegExpExecArray> {
    let isLate = false;
    const patience = setTimeout(() => this.#change(() => (isLate = true)), patienceMs);
    try {
      for (;;) {
        const written = this.#stdout + this.#stderr;
        const found = pattern.exec(written);
        if (found !== null) return found;
        if (this.#isOver || isLate) {
          const what = this.#isOver
            ? "ended without writing"
            : `did not within ${patienceMs / 1_000} s write`;
          throw new HostsError(`${this.#command} ${what} ${String(pattern)}:\n${written}`);
        }
        await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
    } finally {
      clearTimeout(patience);
    }
  }

  #end(lastWords: string): void {
    this.#change(() => {
      this.#stderr += lastWords;
      this.#isOver = true;
    });
  }

  #change(what: () => void): void {
    what();
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const look of waiting) look();
  }
}
