import type { BrokerContext } from "./context.ts";
import { Delivery } from "./delivery.ts";
import { mayStay } from "./retained-rights.ts";
import type { RetainedWalk } from "./retained-walk.ts";
import type { Session } from "./session.ts";
import type { Subscription } from "./subscription.ts";

/** Places that are looked at, with and without a message. */
const perStep = 128;

/**
 * Retained messages for a new subscription, sent as the client reads them. Each message is looked up when its turn has come, so that
 * it is never older than one the client has seen.
 */
export class RetainedReplay {
  readonly #context: BrokerContext;
  readonly #subscription: Subscription;
  readonly #walk: RetainedWalk;

  constructor(context: BrokerContext, subscription: Subscription) {
    this.#context = context;
    this.#subscription = subscription;
    this.#walk = context.retained.walk(subscription.filter);
  }

  /** The key of the subscription within its session. */
  get key(): string {
    return this.#subscription.key;
  }

  /** Delivers the next few, while the connection takes them; true when that was all. @see MQTT 5.0 §3.3.1.3 */
  step(session: Session): boolean {
    const { options } = this.#subscription;
    const identifiers = options.identifier === 0 ? undefined : [options.identifier];
    for (let place = 0; place < perStep && !this.#walk.isDone; place += 1) {
      // More would be dropped, not sent. @see Connection.sendPublish
      if (session.connection?.hasRoom === false) return false;
      const message = this.#walk.next();
      if (message === undefined || message.hasExpired(this.#context.nowMs)) continue;
      if (!session.mayReceive(message.topic) || !mayStay(this.#context, message)) continue;
      const qos = message.qos < options.qos ? message.qos : options.qos;
      session.deliver(new Delivery(message, qos, true, identifiers));
    }
    return this.#walk.isDone;
  }
}
