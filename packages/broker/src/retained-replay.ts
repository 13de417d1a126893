import type { BrokerContext } from "./context.ts";
import { Delivery } from "./delivery.ts";
import { mayStay } from "./retained-rights.ts";
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
  /** Looked up with the first step: most of what a client asks for at once is asked for again before its turn. */
  #topics: readonly string[] | undefined;
  #index = 0;

  constructor(context: BrokerContext, subscription: Subscription) {
    this.#context = context;
    this.#subscription = subscription;
  }

  /** The key of the subscription within its session. */
  get key(): string {
    return this.#subscription.key;
  }

  /** Delivers the next few, while the connection takes them; true when that was all. @see MQTT 5.0 §3.3.1.3 */
  step(session: Session): boolean {
    const { options, filter } = this.#subscription;
    this.#topics ??= this.#context.retained.match(filter);
    const identifiers = options.identifier === 0 ? undefined : [options.identifier];
    const end = Math.min(this.#topics.length, this.#index + perStep);
    for (; this.#index < end; this.#index += 1) {
      // More would be dropped, not sent. @see Connection.sendPublish
      if (session.connection?.hasRoom === false) return false;
      const topic = this.#topics[this.#index];
      const message = topic === undefined ? undefined : this.#context.retained.get(topic);
      if (message === undefined || message.hasExpired(this.#context.nowMs)) continue;
      if (!session.mayReceive(message.topic) || !mayStay(this.#context, message)) continue;
      const qos = message.qos < options.qos ? message.qos : options.qos;
      session.deliver(new Delivery(message, qos, true, identifiers));
    }
    return this.#index >= this.#topics.length;
  }
}
