import { PosternError, errorText } from "@postern/core/errors";

import type { CommandContext } from "./context.ts";

/** What the process ends with. */
export const ExitCode = {
  ok: 0,
  /** The operation was attempted and failed. */
  failed: 1,
  /** The command line, the configuration or the input is wrong; nothing was attempted. */
  usage: 2,
  /** The server could not be reached, or refused us. */
  unreachable: 3,
  /** Ended by SIGINT or SIGTERM. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** An error of the command line that knows how the process is to end. */
export abstract class CliError extends PosternError {
  abstract readonly exitCode: ExitCode;
}

/** The command line asks for something that cannot be: a bad value, options that exclude each other, a file that cannot be read. */
export class UsageError extends CliError {
  readonly code = "USAGE";
  readonly exitCode = ExitCode.usage;
}

/** The demonstration cannot be shown: a program is missing, or the server does not start. */
export class DemoError extends CliError {
  readonly code = "DEMO";
  readonly exitCode = ExitCode.failed;
}

/** Errors of the packages below that are the user's input or a server out of reach; everything else is `failed`. */
const exitCodes: Readonly<Record<string, ExitCode>> = {
  BUNDLE_INVALID: ExitCode.usage,
  CONNECTION: ExitCode.unreachable,
  CREDENTIALS: ExitCode.usage,
  DEVICE_FILE: ExitCode.usage,
  ENROLMENT_REFUSED: ExitCode.unreachable,
  NOT_RENEWABLE: ExitCode.usage,
  PERMISSIONS_INVALID: ExitCode.usage,
  SERVER_REFUSED: ExitCode.unreachable,
};

/** How the process is to end after `thrown`. */
function exitCodeOf(thrown: unknown): ExitCode {
  if (thrown instanceof CliError) return thrown.exitCode;
  if (thrown instanceof PosternError) return exitCodes[thrown.code] ?? ExitCode.failed;
  return ExitCode.failed;
}

/**
 * Says on stderr, in one sentence, what went wrong and returns the exit code. A stack trace is shown only with
 * POSTERN_DEBUG=1, or when asked for, since it helps nobody who cannot change the code.
 */
export function reportError(thrown: unknown, context: Pick<CommandContext, "stderr" | "env">): ExitCode {
  const expected = thrown instanceof PosternError;
  const sentence = expected
    ? thrown.message
    : `unexpected error: ${errorText(thrown)} (run again with POSTERN_DEBUG=1 to see where)`;
  context.stderr.write(`postern: ${sentence}\n`);
  if (context.env["POSTERN_DEBUG"] === "1" && thrown instanceof Error) {
    context.stderr.write(`${thrown.stack ?? ""}\n`);
    if (thrown.cause instanceof Error) context.stderr.write(`caused by ${thrown.cause.stack ?? ""}\n`);
  }
  return exitCodeOf(thrown);
}
