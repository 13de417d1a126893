import type { BrokerContext } from "./context.ts";

/** What no commit takes along is kept after so long: messages that are stored for nobody. */
const idleMs = 1_000;

/**
 * Keeps which sealed messages were accepted: in the same group as the messages themselves where these are stored, so that after a crash
 * a message and its number are both there or both not; otherwise a second later. A crash forgets at most that second.
 */
export class AcceptedKeeper {
  readonly #context: BrokerContext;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(context: BrokerContext) {
    this.#context = context;
    const { payloadRules, store } = context.ports;
    if (payloadRules === undefined) return;
    payloadRules.load(store.loadAccepted());
    context.line.beforeCommit = () => this.#append();
    this.#timer = setInterval(() => this.#keep(), idleMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#keep();
  }

  #keep(): void {
    if (this.#append() > 0) this.#context.line.touch();
  }

  #append(): number {
    const accepted = this.#context.ports.payloadRules?.takeAccepted() ?? [];
    for (const each of accepted) this.#context.ports.store.putAccepted(each);
    return accepted.length;
  }
}
