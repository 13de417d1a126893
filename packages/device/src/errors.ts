import { PosternError } from "@postern/core/errors";
import { reasonCodeName } from "@postern/mqtt/reason-codes";

/** `Not authorized (0x87)`. */
export function reasonText(reasonCode: number): string {
  const name = reasonCodeName(reasonCode);
  const code = `0x${reasonCode.toString(16).padStart(2, "0")}`;
  return name === code ? code : `${name} (${code})`;
}

/** No connection to the server, or none any more: network, TLS, or an answer that is not MQTT. */
export class ConnectionError extends PosternError {
  readonly code = "CONNECTION";
  /** Whether trying again later can help: true for the network, false for a certificate that does not verify. */
  readonly retry: boolean;

  constructor(message: string, options: ErrorOptions & { readonly retry: boolean }) {
    super(message, options);
    this.retry = options.retry;
  }
}

/** The server answered and said no: to the connection, to a subscription, or by DISCONNECT. */
export class ServerRefusedError extends PosternError {
  readonly code = "SERVER_REFUSED";
  /** As in MQTT 5, also where the server speaks MQTT 3. */
  readonly reasonCode: number;

  constructor(message: string, reasonCode: number) {
    super(message);
    this.reasonCode = reasonCode;
  }
}

/** The server refused a message. */
export class PublishRefusedError extends PosternError {
  readonly code = "PUBLISH_REFUSED";
  readonly reasonCode: number;

  constructor(message: string, reasonCode: number) {
    super(message);
    this.reasonCode = reasonCode;
  }
}

/** A message that the server said beforehand it would not take (size, QoS, retain); it was not sent. */
export class BeyondServerLimitError extends PosternError {
  readonly code = "BEYOND_SERVER_LIMIT";
}

/** The client itself could not send a message, such as for a topic alias beyond what the server allows. */
export class UnsendableError extends PosternError {
  readonly code = "UNSENDABLE";
}

/** More messages wait to be sent than may. */
export class QueueFullError extends PosternError {
  readonly code = "QUEUE_FULL";
}

/** A message must be sealed, and cannot be: there is no key. It was not sent. */
export class SealError extends PosternError {
  readonly code = "SEAL";
}

/** The device was closed. */
export class ClosedError extends PosternError {
  readonly code = "CLOSED";
}

/** What is to prove who we are, or whom we trust, cannot be used: not PEM, a key of another certificate, a weak key. */
export class CredentialsError extends PosternError {
  readonly code = "CREDENTIALS";
}

/** A file that the device keeps for itself cannot be read or written. */
export class DeviceFileError extends PosternError {
  readonly code = "DEVICE_FILE";
}

/** A bundle holds no certificate with its key, or does not say where to renew it. */
export class NotRenewableError extends PosternError {
  readonly code = "NOT_RENEWABLE";
}

/** An EST server answered and gave no certificate. */
export class EnrolmentRefusedError extends PosternError {
  readonly code = "ENROLMENT_REFUSED";
  /** Of HTTP. */
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** What an EST server answered is not what was asked for, so it was not used. */
export class EnrolmentAnswerError extends PosternError {
  readonly code = "ENROLMENT_ANSWER";
}
