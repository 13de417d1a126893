import { reasonCodeName } from "@postern/mqtt/reason-codes";

import { CliError, ExitCode } from "../errors.ts";

/** `Not authorized (0x87)`. */
export function reasonText(reasonCode: number): string {
  const name = reasonCodeName(reasonCode);
  const code = `0x${reasonCode.toString(16).padStart(2, "0")}`;
  return name === code ? code : `${name} (${code})`;
}

/** No connection to the server, or none any more: network, TLS, or an answer that is not MQTT. */
export class ConnectionError extends CliError {
  readonly code = "CONNECTION";
  readonly exitCode = ExitCode.unreachable;
  /** Whether trying again later can help: true for the network, false for a certificate that does not verify. */
  readonly retry: boolean;

  constructor(message: string, options: ErrorOptions & { readonly retry: boolean }) {
    super(message, options);
    this.retry = options.retry;
  }
}

/** The server answered and said no: to the connection, to a subscription, or by DISCONNECT. */
export class ServerRefusedError extends CliError {
  readonly code = "SERVER_REFUSED";
  readonly exitCode = ExitCode.unreachable;
  /** As in MQTT 5, also where the server speaks MQTT 3. */
  readonly reasonCode: number;

  constructor(message: string, reasonCode: number) {
    super(message);
    this.reasonCode = reasonCode;
  }
}

/** The server refused a message. */
export class PublishRefusedError extends CliError {
  readonly code = "PUBLISH_REFUSED";
  readonly exitCode = ExitCode.failed;
  readonly reasonCode: number;

  constructor(message: string, reasonCode: number) {
    super(message);
    this.reasonCode = reasonCode;
  }
}

/** A message that the server said beforehand it would not take (size, QoS, retain); it was not sent. */
export class BeyondServerLimitError extends CliError {
  readonly code = "BEYOND_SERVER_LIMIT";
  readonly exitCode = ExitCode.failed;
}

/** The client itself could not send a message, such as for a topic alias beyond what the server allows. */
export class UnsendableError extends CliError {
  readonly code = "UNSENDABLE";
  readonly exitCode = ExitCode.failed;
}

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
