import type { BrokerContext } from "./context.ts";
import { Delivery } from "./delivery.ts";
import type { Session } from "./session.ts";
import type { Subscription } from "./subscription.ts";

const perStep = 64;

/**
 * Retained messages for a new subscription, sent as the client reads them. Only topics are remembered: each
 * message is looked up when its turn has come, so that it is never older than one the client has seen.
 */
export class RetainedReplay {
  readonly #context: BrokerContext;
  readonly #subscription: Subscription;
  readonly #topics: readonly string[];
  #index = 0;

  constructor(context: BrokerContext, subscription: Subscription) {
    this.#context = context;
    this.#subscription = subscription;
    this.#topics = context.retained.match(subscription.filter);
  }

  get isEmpty(): boolean {
    return this.#topics.length === 0;
  }

  /** Delivers the next few; true when that was all. @see MQTT 5.0 §3.3.1.3 */
  step(session: Session, count = perStep): boolean {
    const { options, key } = this.#subscription;
    if (session.subscriptions.get(key) !== this.#subscription) return true;
    const identifiers = options.identifier === 0 ? undefined : [options.identifier];
    const end = Math.min(this.#topics.length, this.#index + count);
    for (; this.#index < end; this.#index += 1) {
      const topic = this.#topics[this.#index];
      const message = topic === undefined ? undefined : this.#context.retained.get(topic);
      if (message === undefined || message.hasExpired(this.#context.nowMs)) continue;
      if (!session.mayReceive(message.topic)) continue;
      const qos = message.qos < options.qos ? message.qos : options.qos;
      session.deliver(new Delivery(message, qos, true, identifiers));
    }
    return this.#index >= this.#topics.length;
  }

  /** Delivers everything at once: what goes into a durable session is safe there. */
  all(session: Session): void {
    this.step(session, this.#topics.length);
  }
}
