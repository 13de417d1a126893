import { createHmac, randomBytes } from "node:crypto";

/** Who tries from where; MQTT strings have no U+0000. @see MQTT 5.0 [MQTT-1.5.4-2] */
interface Attempt {
  readonly address: string;
  readonly username: string;
  readonly password: Uint8Array;
}

/**
 * Attempts that are one and the same, from one address with one password, made while the first is still being looked at: a service
 * that opens its connections all at once. They get its result, and count as one: nobody learns more from a guess made twice.
 */
export class SameAttempts<Result> {
  readonly #key = randomBytes(32);
  /** By an HMAC of all that makes them the same. */
  readonly #running = new Map<string, Promise<Result>>();

  join(attempt: Attempt, judge: () => Promise<Result>): Promise<Result> {
    const mark = createHmac("sha256", this.#key)
      .update(`${attempt.address}\0${attempt.username}\0`)
      .update(attempt.password)
      .digest("base64");
    const running = this.#running.get(mark);
    if (running !== undefined) return running;
    const result = judge().finally(() => this.#running.delete(mark));
    this.#running.set(mark, result);
    return result;
  }
}
