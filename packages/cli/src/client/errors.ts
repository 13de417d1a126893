import { CliError, ExitCode } from "../errors.ts";

/** Fewer messages came than were asked for. */
export class MessagesMissingError extends CliError {
  readonly code = "MESSAGES_MISSING";
  readonly exitCode = ExitCode.failed;
}

/** SIGINT or SIGTERM. The command says what was left undone, if anything, and sets the exit code. */
export class InterruptedError extends CliError {
  readonly code = "INTERRUPTED";
  readonly exitCode = ExitCode.interrupted;
}
