import { CliError, ExitCode } from "../errors.ts";

export interface ConfigErrorFields {
  /** As it was named on the command line. */
  readonly file: string;
  /** Counted from 1; `undefined` when the file cannot be read. */
  readonly line?: number | undefined;
  /** The key's full name, `listeners[0].url`; `undefined` when the file is no YAML at all. */
  readonly key?: string | undefined;
  /** The known key or value that was probably meant. */
  readonly suggestion?: string | undefined;
}

/** A configuration that cannot be used. The message is `file:line: what is wrong`. */
export class ConfigError extends CliError {
  readonly code = "CONFIG_INVALID";
  readonly exitCode = ExitCode.usage;
  readonly problem: string;
  readonly fields: ConfigErrorFields;

  constructor(problem: string, fields: ConfigErrorFields, options?: ErrorOptions) {
    super(`${fields.file}${fields.line === undefined ? "" : `:${fields.line}`}: ${problem}`, options);
    this.problem = problem;
    this.fields = fields;
  }
}
