import type { Connection } from "./connection.ts";
import type { BrokerContext } from "./context.ts";
import type { PayloadRule, PayloadVerdict } from "./ports.ts";
import type { TopicEntry } from "./topic-cache.ts";

/** Why a payload was refused: what its acknowledgement says. */
export interface PayloadRefusal {
  readonly reasonCode: number;
  readonly reason: string;
}

/** What the topic demands of payloads; worked out once for each topic until permissions change. */
export function payloadRuleOn(context: BrokerContext, entry: TopicEntry): PayloadRule | undefined {
  if (entry.ruleVersion === context.permissionsVersion) return entry.rule;
  entry.rule = context.ports.payloadRules?.ruleOn(entry.text);
  entry.ruleVersion = context.permissionsVersion;
  return entry.rule;
}

/** Holds the payload of a connection's PUBLISH or will to the rule of its topic; counts, and records a refusal. */
export function checkPayload(
  connection: Connection,
  rule: PayloadRule,
  message: { readonly topic: string; readonly payload: Uint8Array; readonly repeated: boolean },
): PayloadVerdict {
  const { core, identity } = connection;
  const { context } = core;
  const { stats, nowMs } = context;
  const { topic, payload, repeated } = message;
  const verdict = rule.check(payload, { topic, publisher: identity?.name ?? "", repeated, nowMs });
  stats.payloadsChecked += 1;
  if (verdict.checks > 0) {
    stats.signaturesChecked += verdict.checks;
    connection.countChecks(verdict.checks);
  }
  if (verdict.kind === "repeated") stats.payloadsRepeated += 1;
  if (verdict.kind === "refused") {
    stats.payloadsRefused += 1;
    stats.publishRefused += 1;
    core.audit("publish-refused", connection, `${topic}: its payload: ${verdict.reason}`);
  }
  return verdict;
}
