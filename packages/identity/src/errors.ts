import { PosternError } from "@postern/core/errors";
import type { YamlProblem } from "@postern/core/yaml-document";

/** The data directory cannot be used as it is: no directory, not ours, not writable, or the disk is full. */
export class DataDirectoryError extends PosternError {
  readonly code = "DATA_DIRECTORY";
}

/** The data directory was written by a newer Postern. */
export class DataVersionError extends PosternError {
  readonly code = "DATA_VERSION";
}

/** A file of the certificate authority, of the server's certificate or of the device registry is missing, damaged or open to others. */
export class PkiFileError extends PosternError {
  readonly code = "PKI_FILE";
}

/** The permissions file cannot be read, or something in it is wrong. The message is `file:line: what is wrong`. */
export class PermissionsError extends PosternError {
  readonly code = "PERMISSIONS_INVALID";
  readonly problem: string;
  readonly file: string;
  /** Counted from 1; `undefined` when there is no line to name. */
  readonly line: number | undefined;
  readonly key: string | undefined;
  /** The known key or value that was probably meant. */
  readonly suggestion: string | undefined;

  constructor(file: string, { text, line, key, suggestion, cause }: YamlProblem) {
    super(`${file}${line === undefined ? "" : `:${line}`}: ${text}`, { cause });
    this.file = file;
    this.problem = text;
    this.line = line;
    this.key = key;
    this.suggestion = suggestion;
  }
}

/** The machine's clock contradicts the certificates, which cannot be judged with it. */
export class ClockError extends PosternError {
  readonly code = "CLOCK_WRONG";
}

/** An enrolment token cannot be made or found as asked for. */
export class EnrolmentError extends PosternError {
  readonly code = "ENROLMENT";
}

/** The keys of a token issuer cannot be used: no JSON Web Key Set and no public key, or one that is too weak. */
export class TokenKeysError extends PosternError {
  readonly code = "TOKEN_KEYS";
}

/** There is a device of this name already. */
export class DeviceExistsError extends PosternError {
  readonly code = "DEVICE_EXISTS";
}

/** There is no device of this name. */
export class DeviceUnknownError extends PosternError {
  readonly code = "DEVICE_UNKNOWN";
}

/** The device of this name was removed. */
export class DeviceRemovedError extends PosternError {
  readonly code = "DEVICE_REMOVED";
}

/** A device cannot be given what was asked for: a refused certification request, a weak password, nothing to rotate. */
export class DeviceRequestError extends PosternError {
  readonly code = "DEVICE_REQUEST";
}

/** The root's key cannot be exported, read or removed: it is not there, the passphrase does not fit, or it is another authority's. */
export class RootKeyError extends PosternError {
  readonly code = "ROOT_KEY";
}
