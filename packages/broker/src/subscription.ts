import type { StoredSubscription } from "@postern/core/session-store";

import type { Session } from "./session.ts";

/** One session's subscription to one filter. */
export interface Subscription {
  readonly session: Session;
  /** As subscribed, with the `$share/group/` prefix where there is one: the key within the session. */
  readonly key: string;
  /** Without that prefix: what topics are matched against. */
  readonly filter: string;
  /** The ShareName, or `undefined` for an ordinary subscription. @see MQTT 5.0 §4.8.2 */
  readonly shareName: string | undefined;
  readonly options: StoredSubscription;
}

/** The members of one shared subscription take turns. */
export interface SharedGroup {
  readonly members: Subscription[];
  /** Index of the member whose turn it is. */
  turn: number;
}

/** What one session gets of one topic: its overlapping subscriptions merged into one delivery. @see MQTT 5.0 §3.3.4 */
export interface Target {
  readonly session: Session;
  readonly qos: 0 | 1 | 2;
  readonly retainAsPublished: boolean;
  readonly identifiers: readonly number[];
  /** The subscriptions behind the merge; more than one when filters overlap. */
  readonly subscriptions: readonly Subscription[];
  /** At least one of them has No Local set: a message of the session's own needs a closer look. */
  readonly someNoLocal: boolean;
}

export interface TopicMatch {
  readonly targets: readonly Target[];
  readonly groups: readonly SharedGroup[];
}

const noIdentifiers: readonly number[] = [];

/** Merges a session's subscriptions that match one topic: highest QoS, every identifier, RETAIN kept if any asks for it. */
export function mergeTarget(session: Session, subscriptions: readonly Subscription[]): Target {
  let qos: 0 | 1 | 2 = 0;
  let retainAsPublished = false;
  let someNoLocal = false;
  const identifiers: number[] = [];
  for (const { options } of subscriptions) {
    if (options.qos > qos) qos = options.qos;
    retainAsPublished ||= options.retainAsPublished;
    someNoLocal ||= options.noLocal;
    if (options.identifier !== 0 && !identifiers.includes(options.identifier))
      identifiers.push(options.identifier);
  }
  return {
    session,
    qos,
    retainAsPublished,
    identifiers: identifiers.length === 0 ? noIdentifiers : identifiers,
    subscriptions,
    someNoLocal,
  };
}
