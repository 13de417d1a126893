import {
  checkClientPublish,
  createPublishView,
  decodePublish,
  type PublishView,
} from "@postern/mqtt/publish";
import { encodeForwardedProperties, topicNameProblem } from "@postern/mqtt/publish";
import type { Frame } from "@postern/mqtt/frame";
import { noProperties, PacketType } from "@postern/mqtt/packets";
import { ReasonCode } from "@postern/mqtt/reason-codes";
import { topicLevelCount } from "@postern/mqtt/topics";

import type { Connection } from "./connection.ts";
import { Next } from "./inbound.ts";
import { Message } from "./message.ts";
import { checkPayload, payloadRuleOn, type PayloadRefusal } from "./payload-check.ts";
import { refuse } from "./refuse.ts";
import { mayAskFor, mayPublish } from "./rights.ts";
import { sameBytes, type TopicEntry } from "./topic-cache.ts";

/** One PUBLISH is handled before the next is read, so all connections of a thread share the view. */
const view: PublishView = createPublishView();
const noForwarded = new Uint8Array(0);

/** @see MQTT 5.0 §3.3 */
export function handlePublish(connection: Connection, bytes: Buffer, frame: Frame): Next {
  const { session, core } = connection;
  const { stats } = core.context;
  const problem = decodePublish(bytes, frame, connection.version, view) ?? checkClientPublish(view);
  if (problem !== undefined) return refuse(connection, problem.reasonCode, problem.reason);
  if (session === undefined) return Next.stop;
  stats.publishReceived += 1;
  stats.publishBytesReceived += view.payloadEnd - view.payloadStart;
  connection.countMessage();
  if (
    view.properties !== noProperties &&
    (view.properties.userProperties?.length ?? 0) > connection.limits.userPropertiesMax
  )
    return refuse(connection, ReasonCode.quotaExceeded, "more user properties than allowed");

  const entry = topicOf(connection, bytes);
  if (entry === undefined) return Next.stop;
  const { qos, packetId } = view;
  if (qos === 2 && session.hasInbound(packetId)) {
    // Sent again: it was routed the first time. @see MQTT 5.0 §4.3.3
    connection.sendAck(PacketType.pubrec, packetId);
    return Next.go;
  }
  if (qos > 0 && connection.version === 5 && session.inboundCount >= connection.limits.receiveMaximum) {
    return refuse(
      connection,
      ReasonCode.receiveMaximumExceeded,
      "more QoS 1 and 2 messages than Receive Maximum",
    );
  }
  const before = core.context.line.appends;
  const result = publish(connection, bytes, entry);
  const refusal = typeof result === "number" ? undefined : result;
  const reasonCode = typeof result === "number" ? result : result.reasonCode;
  const forbidden = refusal !== undefined || reasonCode === ReasonCode.notAuthorized;
  if (forbidden && session.permissions.refusedPublish === "disconnect") {
    connection.disconnect(reasonCode, refusal?.reason ?? "a message that is not permitted");
    return Next.stop;
  }
  const stored = core.context.line.appends !== before;
  answer(connection, qos, packetId, reasonCode, stored, refusal?.reason);
  return Next.go;
}

/** Checks and routes the message in `view`; the reason code for its acknowledgement, and why where its payload was refused. */
function publish(connection: Connection, bytes: Buffer, entry: TopicEntry): number | PayloadRefusal {
  const { session, core } = connection;
  const { context } = core;
  const { qos, retain, properties } = view;
  if (session === undefined) return ReasonCode.unspecifiedError;
  if (!mayPublish(connection.rightsOn(entry), qos, retain)) return refused(connection, entry.text);
  if (properties.responseTopic !== undefined && !mayAskFor(session.permissions, properties.responseTopic))
    return refused(connection, `${entry.text} with response topic ${properties.responseTopic}`);
  let payload: Uint8Array = bytes.subarray(view.payloadStart, view.payloadEnd);
  let borrowed = true;
  const rule = payloadRuleOn(context, entry);
  // To end a retained message is to drop one, which no seal is against.
  const clears = rule !== undefined && retain && payload.length === 0;
  if (rule !== undefined && !clears) {
    const verdict = checkPayload(connection, rule, { topic: entry.text, payload, repeated: view.dup });
    if (verdict.kind === "refused") return verdict;
    if (verdict.kind === "repeated") {
      // What came the first time may still be on its way to the disk.
      connection.hold();
      return ReasonCode.success;
    }
    ({ payload } = verdict);
    borrowed = payload.buffer === bytes.buffer;
  }
  const { nowMs } = context;
  const expirySeconds = properties.messageExpiryInterval;
  const message = new Message(
    {
      topic: entry.text,
      payload,
      qos,
      properties: properties === noProperties ? noForwarded : encodeForwardedProperties(properties),
      publishedAtMs: nowMs,
      expiresAtMs: expirySeconds === undefined ? Infinity : nowMs + expirySeconds * 1_000,
      publisher: session.owner,
    },
    entry.bytes,
    borrowed,
    borrowed ? connection.packetMemory : undefined,
  );
  message.confidential = rule?.confidential === true;
  if (clears) {
    core.publisher.clearRetained(message);
    return ReasonCode.success;
  }
  switch (core.publisher.publish(message, entry, retain, session)) {
    case "routed":
      return ReasonCode.success;
    case "nobody":
      return ReasonCode.noMatchingSubscribers;
    case "over-limit":
      context.stats.publishRefused += 1;
      core.audit("limit-reached", connection, `retained messages are full; refused ${entry.text}`);
      return ReasonCode.quotaExceeded;
  }
}

function refused(connection: Connection, detail: string): number {
  const { core } = connection;
  core.context.stats.publishRefused += 1;
  core.audit("publish-refused", connection, detail);
  return ReasonCode.notAuthorized;
}

/** Acknowledges; what was stored for it is on disk before the acknowledgement leaves. */
function answer(
  connection: Connection,
  qos: 0 | 1 | 2,
  packetId: number,
  reasonCode: number,
  stored: boolean,
  reason: string | undefined,
): void {
  if (qos === 0) return;
  const { session } = connection;
  if (qos === 1) {
    if (stored) connection.hold();
    connection.sendAck(PacketType.puback, packetId, reasonCode, reason);
    return;
  }
  // In MQTT 3 a refused message is acknowledged all the same: there is no other answer. @see MQTT 3.1.1 [MQTT-3.3.5-2]
  const accepted = reasonCode < ReasonCode.unspecifiedError || connection.version < 5;
  if (accepted) session?.addInbound(packetId);
  if (stored || session?.durable === true) connection.hold();
  connection.sendAck(PacketType.pubrec, packetId, reasonCode, reason);
}

/** The topic of the PUBLISH in `view`, by name or alias; `undefined` after the connection was ended for it. */
function topicOf(connection: Connection, bytes: Buffer): TopicEntry | undefined {
  const { topicStart, topicEnd, properties } = view;
  const alias = properties.topicAlias;
  if (alias === undefined) return topicByName(connection, bytes);
  if (alias > connection.limits.topicAliasMaximum) {
    connection.fail(ReasonCode.topicAliasInvalid, `Topic Alias ${alias} is above Topic Alias Maximum`);
    return undefined;
  }
  connection.aliasesIn ??= new Map();
  if (topicStart === topicEnd) {
    const entry = connection.aliasesIn.get(alias);
    if (entry === undefined)
      connection.fail(ReasonCode.protocolError, `Topic Alias ${alias} names no topic yet`);
    return entry === undefined || entry.live ? entry : connection.core.context.topics.byText(entry.text);
  }
  const named = topicByName(connection, bytes);
  // It will come again, by its alias.
  const entry = named?.live === false ? connection.core.context.topics.byText(named.text) : named;
  if (entry !== undefined) connection.aliasesIn.set(alias, entry);
  return entry;
}

function topicByName(connection: Connection, bytes: Buffer): TopicEntry | undefined {
  const { topicStart, topicEnd } = view;
  const last = connection.lastTopic;
  if (last?.live === true && sameBytes(last.bytes, bytes, topicStart, topicEnd)) return last;
  const entry = connection.core.context.topics.lookup(bytes, topicStart, topicEnd);
  if (entry === undefined) {
    const problem = topicNameProblem(bytes, topicStart, topicEnd);
    connection.fail(problem.reasonCode, problem.reason);
    return undefined;
  }
  const { topicBytesMax, topicLevelsMax } = connection.limits;
  if (entry.bytes.length > topicBytesMax || topicLevelCount(entry.text) > topicLevelsMax) {
    connection.fail(ReasonCode.topicNameInvalid, "the topic name is longer or deeper than allowed");
    return undefined;
  }
  connection.lastTopic = entry;
  return entry;
}
