import type { QoS } from "@postern/core/session-store";

import type { BrokerContext } from "./context.ts";
import { Delivery } from "./delivery.ts";
import type { Message } from "./message.ts";
import type { Session } from "./session.ts";
import { mergeTarget, type SharedGroup, type Subscription, type Target } from "./subscription.ts";
import type { TopicEntry } from "./topic-cache.ts";

/** For fewer receivers than these it costs more to place a packet once than to copy it for each. */
const manyMin = 8;

/** Passes messages to everyone who is subscribed. */
export class Router {
  readonly #context: BrokerContext;

  constructor(context: BrokerContext) {
    this.#context = context;
  }

  /**
   * Delivers the message to all matching subscriptions; `retain` is the RETAIN flag it was published with, `from`
   * the session it came from. Returns whether anyone matched.
   */
  route(message: Message, entry: TopicEntry, retain: boolean, from: Session | undefined): boolean {
    const { targets, groups } = this.#context.topics.matchOf(entry);
    const shared = targets.length > 1;
    const many = targets.length >= manyMin;
    // Subscribers that get the message alike share one delivery: one for each QoS, with and without RETAIN.
    let last: Delivery | undefined;
    for (const target of targets) {
      const to = target.someNoLocal && target.session === from ? withoutNoLocal(target) : target;
      if (to === undefined) continue;
      const qos = lower(message.qos, to.qos);
      const keepsRetain = retain && to.retainAsPublished;
      if (last?.qos !== qos || last.retain !== keepsRetain || last.identifiers !== to.identifiers) {
        last = new Delivery(message, qos, keepsRetain, to.identifiers);
        last.shared = shared;
        last.many = many;
      }
      to.session.deliver(last);
    }
    for (const group of groups) this.#deliverShared(group, message, retain);
    return targets.length > 0 || groups.length > 0;
  }

  /** Gives the deliveries of a member that left to those who stay. @see MQTT 5.0 §4.8.2 */
  handOver(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) {
      const { group, message } = delivery;
      if (group !== undefined && group.members.length > 0)
        this.#deliverShared(group, message, delivery.retain);
    }
  }

  #deliverShared(group: SharedGroup, message: Message, retain: boolean): void {
    const member = nextMember(group, message.confidential);
    if (member === undefined) return;
    const { options, session } = member;
    const identifiers = options.identifier === 0 ? undefined : [options.identifier];
    const delivery = new Delivery(
      message,
      lower(message.qos, options.qos),
      retain && options.retainAsPublished,
      identifiers,
    );
    delivery.group = group;
    session.deliver(delivery);
  }
}

function lower(a: QoS, b: QoS): QoS {
  return a < b ? a : b;
}

/** What is left for the publisher itself when its No Local subscriptions do not count. @see MQTT 5.0 [MQTT-3.8.3-3] */
function withoutNoLocal(target: Target): Target | undefined {
  const subscriptions = target.subscriptions.filter(({ options }) => !options.noLocal);
  return subscriptions.length === 0 ? undefined : mergeTarget(target.session, subscriptions);
}

/**
 * Whose turn it is in a shared subscription: the next member that can take a message at once, otherwise the next
 * that is connected, otherwise the next that keeps it in its session.
 */
function nextMember(group: SharedGroup, confidential: boolean): Subscription | undefined {
  const { members, turn } = group;
  let best: Subscription | undefined;
  let bestIndex = 0;
  let bestRank = -1;
  for (let step = 0; step < members.length && bestRank < 2; step += 1) {
    const index = (turn + step) % members.length;
    const member = members[index];
    if (member === undefined || (confidential && !member.session.isConfidential)) continue;
    const { connection, outbox } = member.session;
    const rank = connection === undefined ? 0 : outbox.waitingCount === 0 && connection.hasRoom ? 2 : 1;
    if (rank <= bestRank) continue;
    best = member;
    bestIndex = index;
    bestRank = rank;
  }
  group.turn = bestIndex + 1;
  return best;
}
