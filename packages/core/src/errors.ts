/**
 * The root of every error Postern throws on purpose. Each subclass is one thing a caller can react to;
 * `code` is stable and listed in docs/ERRORS.md. The message is one sentence for a person: what was
 * attempted, the values, what was found and how to mend it. It never holds a secret.
 */
export abstract class PosternError extends Error {
  abstract readonly code: string;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A device bundle that cannot be used: no JSON, of another version, or with a wrong field. */
export class BundleError extends PosternError {
  readonly code = "BUNDLE_INVALID";
}

/** The text of anything that was thrown, for a log line or as the tail of another message. */
export function errorText(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The `code` of a Node or Postern error, or `undefined` when there is none. */
export function errorCode(thrown: unknown): string | undefined {
  if (typeof thrown !== "object" || thrown === null || !("code" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}
