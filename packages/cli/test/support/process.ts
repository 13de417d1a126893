import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** Halves the time to start: every process compiles the same files. */
const compileCache = join(import.meta.dirname, "..", "..", "..", "..", "node_modules", ".cache", "compile");

/** The command, for `node`. */
export const script = join(import.meta.dirname, "..", "..", "bin", "postern.js");

/** What a process that ended left behind. */
export interface Ended {
  /** The exit code; a signal's name when one ended it. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What stands on standard input; a process that is given none has it open and empty. */
  readonly input?: string | Buffer;
}

/** A running `postern`. */
export class PosternProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  #stdout: Buffer[] = [];
  #stderr: Buffer[] = [];
  #isOver = false;

  constructor(args: readonly string[], { cwd, env, input }: StartOptions = {}) {
    this.child = spawn(process.execPath, [script, ...args], {
      ...(cwd === undefined ? {} : { cwd }),
      env: { ...process.env, NODE_COMPILE_CACHE: compileCache, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.child.stdout?.on("data", (chunk: Buffer) => this.#stdout.push(chunk));
    this.child.stderr?.on("data", (chunk: Buffer) => this.#stderr.push(chunk));
    // A process that refuses its command line does not read its input.
    this.child.stdin?.on("error", () => {});
    if (input !== undefined) this.child.stdin?.end(input);
    this.ended = new Promise((resolve) => {
      this.child.on("close", (code, signal) => {
        this.#isOver = true;
        resolve({ code: code ?? signal ?? "", stdout: this.stdout(), stderr: this.stderr() });
      });
    });
  }

  stdout(): string {
    return Buffer.concat(this.#stdout).toString("utf8");
  }

  stderr(): string {
    return Buffer.concat(this.#stderr).toString("utf8");
  }

  /** Waits until the output matches. Throws when the process ends before, or after 10 seconds. */
  async until(pattern: RegExp, stream: "stdout" | "stderr" = "stderr"): Promise<void> {
    const deadline = performance.now() + 10_000;
    while (!pattern.test(this[stream]())) {
      if (this.#isOver || performance.now() > deadline) {
        throw new Error(`${stream} never matched ${pattern}:\n${this.stdout()}\n${this.stderr()}`);
      }
      await delay(10);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOver) this.child.kill("SIGKILL");
    await this.ended;
  }
}

/** Runs `postern` to its end. */
export async function postern(args: readonly string[], options: StartOptions = {}): Promise<Ended> {
  await using started = new PosternProcess(args, options);
  return await started.ended;
}
