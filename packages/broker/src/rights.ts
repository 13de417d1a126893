import type { QoS } from "@postern/core/session-store";
import { atEveryQoS, TopicRight } from "@postern/core/topic-right";

import type { Permissions } from "./ports.ts";

const receive = atEveryQoS(TopicRight.subscribe);

/** Whether the rights on its topic permit a PUBLISH. */
export function mayPublish(rights: number, qos: QoS, retain: boolean): boolean {
  const wanted = (retain ? TopicRight.publish | TopicRight.retain : TopicRight.publish) << qos;
  return (rights & wanted) === wanted;
}

/** Whether the rights on its topic permit a will. */
export function mayPublishWill(rights: number, qos: QoS, retain: boolean): boolean {
  const wanted = (retain ? TopicRight.will | TopicRight.retain : TopicRight.will) << qos;
  return (rights & wanted) === wanted;
}

/** Whether the rights of its publisher permit that a message is retained, left by a PUBLISH or as a will. */
export function mayStayRetained(rights: number, qos: QoS): boolean {
  return mayPublish(rights, qos, true) || mayPublishWill(rights, qos, true);
}

/** Whether the rights on a topic permit to be sent what is published there. */
export function mayReceive(rights: number): boolean {
  return (rights & receive) !== 0;
}

/**
 * Whether somebody may have answers sent to a topic: a responder that trusts it would otherwise publish, with its own
 * rights, where the requester must not. @see MQTT 5.0 §4.10
 */
export function mayAskFor(permissions: Permissions, responseTopic: string | undefined): boolean {
  if (responseTopic === undefined || !permissions.checksResponseTopics) return true;
  return mayReceive(permissions.rightsOn(responseTopic));
}
