import { CliError, ExitCode } from "../errors.ts";

/** An EST server answered and gave no certificate. */
export class EnrolmentRefusedError extends CliError {
  readonly code = "ENROLMENT_REFUSED";
  readonly exitCode = ExitCode.unreachable;
  /** Of HTTP. */
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** What an EST server answered is not what was asked for, so it was not used. */
export class EnrolmentAnswerError extends CliError {
  readonly code = "ENROLMENT_ANSWER";
  readonly exitCode = ExitCode.failed;
}
