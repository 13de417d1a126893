import type { SubscribeRequest } from "@postern/mqtt/packets";
import { noProperties } from "@postern/mqtt/packets";
import { ReasonCode } from "@postern/mqtt/reason-codes";
import { decodeSubscribe, decodeUnsubscribe, encodeSuback, encodeUnsuback } from "@postern/mqtt/subscribe";
import { isTopicFilter, parseSharedFilter, topicLevelCount } from "@postern/mqtt/topics";

import type { Connection } from "./connection.ts";
import { Next } from "./inbound.ts";
import { refuse, valueOrRefuse } from "./refuse.ts";
import { RetainedReplay } from "./retained-replay.ts";
import type { Session } from "./session.ts";
import type { Subscription } from "./subscription.ts";

/** @see MQTT 5.0 §3.8, §3.9 */
export function handleSubscribe(connection: Connection, bytes: Buffer, start: number, end: number): Next {
  const { version, session, limits } = connection;
  const packet = valueOrRefuse(connection, decodeSubscribe(bytes, start, end, version));
  if (packet === undefined || session === undefined) return Next.stop;
  if (packet.requests.length > limits.filtersPerSubscribeMax)
    return refuse(connection, ReasonCode.quotaExceeded, "more filters in one SUBSCRIBE than allowed");
  const reasonCodes: number[] = [];
  const replays: RetainedReplay[] = [];
  const identifier = packet.properties.subscriptionIdentifiers?.[0] ?? 0;
  for (const request of packet.requests) {
    const problem = problemOf(connection, request.filter);
    if (problem !== undefined && version < 5 && problem === ReasonCode.topicFilterInvalid)
      return refuse(connection, problem, "SUBSCRIBE has a filter that is not allowed by MQTT 3.1.1 §4.7");
    const reasonCode = problem ?? subscribe(connection, session, request, identifier, replays);
    reasonCodes.push(version < 5 && reasonCode > 2 ? ReasonCode.unspecifiedError : reasonCode);
  }
  if (session.durable) connection.hold();
  const { packetId } = packet;
  connection.send(encodeSuback(version, { packetId, reasonCodes, properties: noProperties }));
  connection.core.context.replays.start(session, replays);
  return Next.go;
}

/** @see MQTT 5.0 §3.10, §3.11 */
export function handleUnsubscribe(connection: Connection, bytes: Buffer, start: number, end: number): Next {
  const { version, session } = connection;
  const packet = valueOrRefuse(connection, decodeUnsubscribe(bytes, start, end, version));
  if (packet === undefined || session === undefined) return Next.stop;
  const reasonCodes: number[] = [];
  for (const filter of packet.filters) {
    const problem = problemOf(connection, filter);
    if (problem === ReasonCode.topicFilterInvalid && version < 5)
      return refuse(connection, problem, "UNSUBSCRIBE has a filter that is not allowed by MQTT 3.1.1 §4.7");
    reasonCodes.push(problem ?? unsubscribe(connection, session, filter));
  }
  if (session.durable) connection.hold();
  const { packetId } = packet;
  connection.send(encodeUnsuback(version, { packetId, reasonCodes, properties: noProperties }));
  return Next.go;
}

/** The reason code for a filter that nobody may use here, or `undefined`. */
function problemOf(connection: Connection, key: string): number | undefined {
  const { topicBytesMax, topicLevelsMax } = connection.limits;
  const shared = parseSharedFilter(key);
  if (shared === "invalid") return ReasonCode.topicFilterInvalid;
  const filter = shared?.filter ?? key;
  if (!isTopicFilter(filter)) return ReasonCode.topicFilterInvalid;
  if (Buffer.byteLength(key) > topicBytesMax || topicLevelCount(filter) > topicLevelsMax)
    return ReasonCode.implementationSpecificError;
  return undefined;
}

/** Subscribes, or says why not; adds the retained messages that are due to `replays`. */
function subscribe(
  connection: Connection,
  session: Session,
  request: SubscribeRequest,
  identifier: number,
  replays: RetainedReplay[],
): number {
  const { core, limits } = connection;
  const { context } = core;
  const { filter: key, qos, noLocal, retainAsPublished, retainHandling } = request;
  const shared = parseSharedFilter(key);
  if (shared === "invalid") return ReasonCode.topicFilterInvalid;
  const filter = shared?.filter ?? key;
  const granted = session.permissions.grantedQoS(filter, qos, shared !== undefined);
  if (granted === undefined) {
    context.stats.subscribeRefused += 1;
    core.audit("subscribe-refused", connection, key);
    return ReasonCode.notAuthorized;
  }
  const old = session.subscriptions.get(key);
  if (old === undefined && session.subscriptions.size >= limits.subscriptionsPerSessionMax) {
    core.audit("limit-reached", connection, "subscriptionsPerSessionMax");
    return ReasonCode.quotaExceeded;
  }
  const options = { qos: granted, noLocal, retainAsPublished, retainHandling, identifier };
  const subscription: Subscription = { session, key, filter, shareName: shared?.group, options };
  core.sessions.subscribe(subscription);
  const wanted = retainHandling === 0 || (retainHandling === 1 && old === undefined);
  if (wanted && shared === undefined) replays.push(new RetainedReplay(context, subscription));
  return granted;
}

function unsubscribe(connection: Connection, session: Session, key: string): number {
  if (!session.subscriptions.has(key)) return ReasonCode.noSubscriptionExisted;
  connection.core.sessions.unsubscribe({ session, key });
  return ReasonCode.success;
}
