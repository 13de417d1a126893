import type { BrokerContext } from "./context.ts";
import type { Message } from "./message.ts";
import type { Router } from "./router.ts";
import type { Session } from "./session.ts";
import type { TopicEntry } from "./topic-cache.ts";

/** What became of a publication. */
export type Published = "routed" | "nobody" | "over-limit";

/** Everything that is published passes here: clients' messages, wills, other brokers' messages and `$SYS`. */
export class Publisher {
  readonly #context: BrokerContext;
  readonly #router: Router;
  /** Says whether a will may still be published when its time has come. */
  mayPublishWill: (clientId: string, message: Message, retain: boolean) => boolean = () => true;

  constructor(context: BrokerContext, router: Router) {
    this.#context = context;
    this.#router = router;
  }

  /** A message from a client, whose right to publish it has been checked. */
  publish(message: Message, entry: TopicEntry, retain: boolean, from: Session): Published {
    if (retain && !this.#retain(message)) return "over-limit";
    this.#context.ports.bus?.publish(message, retain);
    return this.#router.route(message, entry, retain, from) ? "routed" : "nobody";
  }

  publishWill(clientId: string, message: Message, retain: boolean): void {
    if (!this.mayPublishWill(clientId, message, retain)) {
      this.#context.stats.publishRefused += 1;
      return;
    }
    if (retain) this.#retain(message);
    this.#context.ports.bus?.publish(message, retain);
    this.#router.route(message, this.#context.topics.byText(message.topic), retain, undefined);
  }

  /** A message that another broker took in. */
  publishFromBus(message: Message, retain: boolean): void {
    if (retain) this.#retain(message);
    this.#router.route(message, this.#context.topics.byText(message.topic), retain, undefined);
  }

  /** One of the broker's own retained messages: kept in memory only. */
  publishSystem(message: Message): void {
    this.#context.retained.put(message, false);
    this.#router.route(message, this.#context.topics.byText(message.topic), false, undefined);
  }

  /** False when the limits of retained messages leave no room. */
  #retain(message: Message): boolean {
    const result = this.#context.retained.put(message, true);
    this.#context.line.touch(message.bytes);
    return result !== "over-limit";
  }
}
