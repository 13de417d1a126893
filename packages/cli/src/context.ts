import type { Readable, Writable } from "node:stream";

/** A stream a command writes to; a terminal has `isTTY`. */
export interface OutputStream extends Writable {
  readonly isTTY?: boolean;
}

/** A stream a command reads; a terminal has `isTTY`. */
export interface InputStream extends Readable {
  readonly isTTY?: boolean;
}

/** All that a command may know of the process it runs in. Commands never touch `process` themselves. */
export interface CommandContext {
  readonly stdin: InputStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Relative paths on the command line are resolved against this. */
  readonly cwd: string;
  /** Whether colours may be written to stdout: it is a terminal and NO_COLOR is not set (https://no-color.org). */
  readonly colours: boolean;
  /** What the process ends with when the command returns without throwing; see `ExitCode`. */
  exitCode: number;
  /**
   * From the first call on, SIGINT and SIGTERM abort this signal instead of ending the process, and the command is
   * expected to clean up and return (having set `exitCode`). Another SIGINT or SIGTERM ends the process at once with 130.
   */
  interruption(): AbortSignal;
}

/** Signals that one key press can deliver twice (to the process group and through npm) count once within this time. */
const REPEAT_MS = 300;

/** The context of the real process. */
export function processContext(): CommandContext {
  let controller: AbortController | undefined;

  function interruption(): AbortSignal {
    if (controller !== undefined) return controller.signal;
    const created = new AbortController();
    controller = created;
    let firstMs = 0;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (!created.signal.aborted) {
        firstMs = performance.now();
        created.abort(signal);
      } else if (performance.now() - firstMs > REPEAT_MS) {
        process.exit(130);
      }
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
    return created.signal;
  }

  const noColour = process.env["NO_COLOR"];
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    colours: process.stdout.isTTY && (noColour === undefined || noColour === ""),
    exitCode: 0,
    interruption,
  };
}
