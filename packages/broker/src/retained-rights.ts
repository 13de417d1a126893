import type { BrokerContext } from "./context.ts";
import type { Message } from "./message.ts";
import { mayStayRetained } from "./rights.ts";

/** Whether the publisher of a retained message may still leave it, and it is sealed as its topic demands. The broker's own messages are nobody's. */
export function mayStay(context: BrokerContext, message: Message): boolean {
  if (message.mayStayVersion === context.permissionsVersion) return message.mayStay;
  const { publisher, topic, qos } = message;
  message.mayStay =
    topic.startsWith("$SYS/") ||
    (mayStayRetained(context.ports.authorizer.publisherRights(publisher, topic), qos) &&
      context.ports.payloadRules?.ruleOn(topic)?.fits(message) !== false);
  message.mayStayVersion = context.permissionsVersion;
  return message.mayStay;
}

/** Whether it is time to forget a retained message whose publisher may no longer leave it. */
export function isPurgeDue(context: BrokerContext, message: Message): boolean {
  if (mayStay(context, message)) {
    message.unpermittedSinceMs = undefined;
    return false;
  }
  message.unpermittedSinceMs ??= context.nowMs;
  return context.nowMs - message.unpermittedSinceMs >= context.ports.authorizer.purgeRetainedAfterMs;
}
