/** Topics that are remembered for one subscription; beyond that, no further retained message is taken. */
export const retainedTopicsMax = 10_000;

/**
 * Lets each topic have one retained message, from the start of a subscription on. One for each subscription; `begin` when it is made
 * anew, since then the broker sends its retained messages again.
 */
export class RetainedOnce {
  readonly #taken = new Set<string>();

  begin(): void {
    this.#taken.clear();
  }

  /** Whether a retained message on this topic is the first since `begin`; from then on there is none to come. */
  take(topic: string): boolean {
    if (this.#taken.has(topic) || this.#taken.size >= retainedTopicsMax) return false;
    this.#taken.add(topic);
    return true;
  }
}
