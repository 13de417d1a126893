import { relative } from "node:path";
import type { Readable, Writable } from "node:stream";
import { isatty } from "node:tty";

import { InterruptedError } from "./client/errors.ts";

/** A stream a command writes to; a terminal has `isTTY`. */
export interface OutputStream extends Writable {
  readonly isTTY?: boolean;
}

/** A stream a command reads; a terminal has `isTTY`. */
export interface InputStream extends Readable {
  readonly isTTY?: boolean;
  /** Of a terminal: whether it hands over each key as it is, and shows nothing of it. */
  setRawMode?(isRaw: boolean): unknown;
}

/** All that a command may know of the process it runs in. Commands never touch `process` themselves. */
export interface CommandContext {
  readonly stdin: InputStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Relative paths on the command line are resolved against this. */
  readonly cwd: string;
  /** What one types in `cwd` to run this program again: `postern`, `npx postern`, `npm run -s postern --`, … */
  readonly program: string;
  /** Whether colours may be written to stdout: it is a terminal and NO_COLOR is not set (https://no-color.org). */
  readonly colours: boolean;
  /** What the process ends with when the command returns without throwing; see `ExitCode`. */
  exitCode: number;
  /**
   * From the first call on, SIGINT and SIGTERM abort this signal (with an {InterruptedError}) instead of ending the process, and the command is
   * expected to clean up and return (having set `exitCode`). Another SIGINT or SIGTERM ends the process at once with 130.
   */
  interruption(): AbortSignal;
  /** Calls `listener` for each SIGHUP, until disposed of. A hangup of our own terminal counts as an interruption instead. */
  onHangup(listener: () => void): Disposable;
  /** From now on the process goes on when nobody reads its output any more. */
  ignoreOutputErrors(): void;
}

/** Signals that one key press can deliver twice (to the process group and through npm) count once within this time. */
const REPEAT_MS = 300;

/** What one types to run the script `script` again. */
export function programName({ env, cwd }: Pick<CommandContext, "env" | "cwd">, script: string): string {
  // `npm start` and `npm run postern` run in the package's folder, wherever they are typed; npx in the caller's.
  if (env["npm_command"] === "exec") return "npx postern";
  if (env["npm_lifecycle_event"] !== undefined) return "npm run -s postern --";
  if (!script.endsWith(".js")) return "postern";
  const path = relative(cwd, script);
  return `node ${path.includes(" ") ? `'${path}'` : path}`;
}

class Interruptions {
  readonly #controller = new AbortController();
  #firstMs = 0;

  constructor() {
    process.on("SIGINT", (signal) => this.interrupt(signal));
    process.on("SIGTERM", (signal) => this.interrupt(signal));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  interrupt(signal: NodeJS.Signals): void {
    if (!this.#controller.signal.aborted) {
      this.#firstMs = performance.now();
      this.#controller.abort(new InterruptedError(`interrupted by ${signal}`));
    } else if (performance.now() - this.#firstMs > REPEAT_MS) {
      process.exit(130);
    }
  }
}

/** The context of the real process. */
export function processContext(): CommandContext {
  let interruptions: Interruptions | undefined;
  const { env } = process;
  const cwd = process.cwd();
  const noColour = env["NO_COLOR"];
  const onTerminal = process.stdout.isTTY;
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env,
    cwd,
    program: programName({ env, cwd }, process.argv[1] ?? "postern"),
    colours: onTerminal && (noColour === undefined || noColour === ""),
    exitCode: 0,
    interruption: () => (interruptions ??= new Interruptions()).signal,
    onHangup: (listener) => {
      const onSignal = (): void => {
        // A terminal that is gone is none any more.
        if (onTerminal && !isatty(1)) interruptions?.interrupt("SIGHUP");
        else listener();
      };
      process.on("SIGHUP", onSignal);
      return { [Symbol.dispose]: () => void process.off("SIGHUP", onSignal) };
    },
    ignoreOutputErrors: () => {
      for (const stream of [process.stdout, process.stderr])
        stream.removeAllListeners("error").on("error", () => {});
    },
  };
}
