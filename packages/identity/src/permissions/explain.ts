import { TopicRight } from "@postern/core/topic-right";
import { isTopicFilter, isTopicName, parseSharedFilter } from "@postern/mqtt/topics";
import type { SealMode } from "@postern/seal/envelope/structure";

import { demandOn } from "../payloads/demand.ts";
import type { ClientPermissions } from "./client-permissions.ts";
import type { Policy } from "./policy.ts";
import type { BoundRule } from "./rules.ts";
import type { Operation } from "./schema.ts";

type QoS = 0 | 1 | 2;

export interface Question {
  readonly operation: Operation;
  /** A topic, or a filter to subscribe to; nothing for `persistentSession`. */
  readonly topic: string | undefined;
  readonly qos: QoS;
}

/** A line of the permissions file, and what it says for this client. */
export interface DecidingRule {
  readonly line: number;
  readonly role: string;
  readonly effect: "allow" | "deny";
  /** As written; `undefined` for a rule about the whole session. */
  readonly filter?: string | undefined;
  /** With the client's values in the place of placeholders. */
  readonly bound?: string | undefined;
}

/** The entry of the permissions file that says how payloads on a topic are to be sealed. */
export interface ExplainedDemand {
  readonly line: number;
  readonly filter: string;
  readonly modes: readonly SealMode[];
  readonly maxAgeSeconds?: number | undefined;
  /** Whether the broker has the keys to check MACs. */
  readonly checksMacs: boolean;
  /** It is to be encrypted to the server's own key, which opens it. */
  readonly deliver?: "plain" | "sealed" | undefined;
}

export interface Explanation {
  readonly permitted: boolean;
  /** The lines that decided; empty when nothing permits it. */
  readonly rules: readonly DecidingRule[];
  /** Why not, in words; `undefined` for a yes. */
  readonly reason?: string | undefined;
  /** What a subscription is granted, where that is less than asked for. */
  readonly grantedQoS?: QoS | undefined;
  /** What the topic demands of payloads, for whoever publishes there. */
  readonly payload?: ExplainedDemand | undefined;
  /** What a person should know beside it. */
  readonly remarks: readonly string[];
}

/** What is wrong with a question, or `undefined`. */
export function questionProblem({ operation, topic }: Question): string | undefined {
  if (operation === "persistentSession")
    return topic === undefined ? undefined : "persistentSession has no topic";
  if (topic === undefined) return `${operation} needs a topic`;
  const reads = operation === "subscribe" || operation === "shared";
  if (!reads) return isTopicName(topic) ? undefined : `"${topic}" is not the name of a topic`;
  const shared = parseSharedFilter(topic);
  const filter = shared === "invalid" ? "" : (shared?.filter ?? topic);
  return isTopicFilter(filter) ? undefined : `"${topic}" is not a topic filter`;
}

/** Says whether the client may do it, and by which lines of the file. The question must be a sound one. */
export function explain(permissions: ClientPermissions, policy: Policy, question: Question): Explanation {
  const { operation, topic } = question;
  const publishes = topic !== undefined && operation !== "subscribe" && operation !== "shared";
  const payload = publishes ? explainDemand(policy, topic) : undefined;
  return { ...explainRights(permissions, policy, question), payload };
}

/** What a topic demands of payloads, and which entry says so; `undefined` where nothing is demanded. */
export function explainDemand({ payloads }: Policy, topic: string): ExplainedDemand | undefined {
  const found = demandOn(payloads, topic);
  if (found === undefined) return undefined;
  const { demand, filter, line } = found;
  const { modes, maxAgeMs, macKeys, deliver } = demand;
  const maxAgeSeconds = maxAgeMs === undefined ? undefined : maxAgeMs / 1_000;
  return { line, filter, modes, maxAgeSeconds, checksMacs: macKeys !== undefined, deliver };
}

function explainRights(permissions: ClientPermissions, policy: Policy, question: Question): Explanation {
  const { subject } = permissions;
  const remarks = [...permissions.problems];
  const unknown = subject.roles.filter((role) => !policy.roles.has(role));
  if (unknown.length > 0) remarks.push(`not in the permissions file: ${roles(unknown)}`);
  if (question.operation === "persistentSession") return { ...persistentSession(permissions), remarks };
  const { topic = "", operation } = question;
  const shared = parseSharedFilter(topic);
  const filter = shared === undefined || shared === "invalid" ? topic : shared.filter;
  const needed = neededRights[operation === "subscribe" && shared !== undefined ? "shared" : operation];
  const levels = filter.split("/");
  const at = (qos: QoS): Pick<Explanation, "permitted" | "rules" | "reason"> => {
    const verdicts = needed.map(({ right, name }) => {
      const { permitted, rules } = permissions.judge(levels, right << qos);
      return { name, permitted, rules };
    });
    const refused = verdicts.find(({ permitted }) => !permitted);
    if (refused === undefined)
      return {
        permitted: true,
        rules: verdicts.flatMap(({ rules }) => rules.map(deciding)),
        reason: undefined,
      };
    const reason =
      refused.rules.length > 0
        ? `${refused.name} is denied`
        : subject.roles.length === 0
          ? "it has no roles"
          : `no rule of ${roles(subject.roles)} allows ${refused.name} there at QoS ${qos}`;
    return { permitted: false, rules: refused.rules.map(deciding), reason };
  };
  const asked = at(question.qos);
  if (asked.permitted) return { ...asked, grantedQoS: undefined, remarks };
  const others = ([2, 1, 0] as const).filter((qos) => qos !== question.qos);
  if (operation === "subscribe" || operation === "shared") {
    const granted = others.filter((qos) => qos < question.qos).find((qos) => at(qos).permitted);
    if (granted !== undefined) return { ...at(granted), grantedQoS: granted, remarks };
  }
  const elsewhere = others.filter((qos) => at(qos).permitted);
  if (elsewhere.length > 0) remarks.push(`allowed at QoS ${elsewhere.toReversed().join(" and ")}`);
  return { ...asked, grantedQoS: undefined, remarks };
}

const publish = { right: TopicRight.publish, name: "publish" };
const subscribe = { right: TopicRight.subscribe, name: "subscribe" };

const neededRights: Readonly<
  Record<
    Exclude<Operation, "persistentSession">,
    readonly { readonly right: number; readonly name: string }[]
  >
> = {
  publish: [publish],
  subscribe: [subscribe],
  will: [{ right: TopicRight.will, name: "will" }],
  // A message that is retained is published first, and a shared subscription is one as well.
  retain: [publish, { right: TopicRight.retain, name: "retain" }],
  shared: [subscribe, { right: TopicRight.shared, name: "shared" }],
};

function persistentSession({
  sessionRules,
  mayPersist,
  subject,
}: ClientPermissions): Omit<Explanation, "remarks"> {
  const deciders = sessionRules.filter(({ effect }) => effect === (mayPersist ? "allow" : "deny"));
  const reason =
    deciders.length > 0
      ? "persistentSession is denied"
      : subject.roles.length === 0
        ? "it has no roles"
        : `no rule of ${roles(subject.roles)} allows persistentSession`;
  return {
    permitted: mayPersist,
    rules: deciders.slice(0, 1).map(({ line, role, effect }) => ({ line, role, effect })),
    reason: mayPersist ? undefined : reason,
    grantedQoS: undefined,
  };
}

function deciding({ rule: { line, role, effect, filter }, filter: bound }: BoundRule): DecidingRule {
  return { line, role, effect, filter, bound };
}

function roles(names: readonly string[]): string {
  return names.length === 1 ? `the role ${names[0] ?? ""}` : `the roles ${names.join(", ")}`;
}
