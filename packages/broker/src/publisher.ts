import type { BrokerContext } from "./context.ts";
import type { Message } from "./message.ts";
import { payloadRuleOn } from "./payload-check.ts";
import type { Permissions } from "./ports.ts";
import type { RetainedQuota } from "./retained.ts";
import { mayPublishWill } from "./rights.ts";
import type { Router } from "./router.ts";
import type { Session } from "./session.ts";
import type { TopicEntry } from "./topic-cache.ts";

/** What became of a publication. */
export type Published = "routed" | "nobody" | "over-limit";

/** Everything that is published passes here: clients' messages, wills, other brokers' messages and `$SYS`. */
export class Publisher {
  readonly #context: BrokerContext;
  readonly #router: Router;

  constructor(context: BrokerContext, router: Router) {
    this.#context = context;
    this.#router = router;
  }

  /** A message from a client, whose right to publish it has been checked. */
  publish(message: Message, entry: TopicEntry, retain: boolean, from: Session): Published {
    if (retain && !this.#retain(message, from.permissions.limits)) return "over-limit";
    this.#context.ports.bus?.publish(message, retain);
    return this.#router.route(message, entry, retain, from) ? "routed" : "nobody";
  }

  /** Ends the retained message of a topic whose subscribers are to be handed nothing without a payload. */
  clearRetained(message: Message): void {
    this.#retain(message);
    this.#context.ports.bus?.publish(message, true);
  }

  publishWill(clientId: string, message: Message, retain: boolean): void {
    const permissions = this.#permissionsOfWill(clientId, message.publisher);
    const entry = this.#context.topics.byText(message.topic);
    const isPermitted = mayPublishWill(permissions.rightsOn(message.topic), message.qos, retain);
    const rule = payloadRuleOn(this.#context, entry);
    if (isPermitted && rule !== undefined && retain && message.payload.length === 0)
      return this.clearRetained(message);
    // Its payload was checked at CONNECT; the rules may be others by now.
    if (!isPermitted || rule?.fits(message) === false) return this.#refuseWill(clientId, message);
    message.confidential = rule?.confidential === true;
    if (retain) this.#retain(message, permissions.limits);
    this.#context.ports.bus?.publish(message, retain);
    this.#router.route(message, entry, retain, undefined);
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

  /** Of the session's owner, or of whoever left the will of a session that is gone. */
  #permissionsOfWill(clientId: string, publisher: string): Permissions {
    const { sessions, ports } = this.#context;
    const session = sessions.get(clientId);
    if (session?.owner === publisher) return session.permissions;
    return ports.authorizer.permissionsOf({
      identity: { name: publisher, anonymous: publisher === "" },
      clientId,
    });
  }

  #refuseWill(clientId: string, { publisher, topic }: Message): void {
    this.#context.stats.publishRefused += 1;
    this.#context.ports.audit.record({
      kind: "publish-refused",
      listener: "",
      address: "",
      clientId,
      identity: publisher,
      detail: `will on ${topic}, when it was due`,
    });
  }

  /** False when the limits of retained messages leave no room. */
  #retain(message: Message, quota?: RetainedQuota): boolean {
    const result = this.#context.retained.put(message, true, quota);
    this.#context.line.touch(message.bytes);
    return result !== "over-limit";
  }
}
