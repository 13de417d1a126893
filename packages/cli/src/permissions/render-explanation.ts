import type {
  DecidingRule,
  ExplainedDemand,
  Explanation,
  Question,
} from "@postern/identity/permissions/explain";

/** "publish hall/t at QoS 1". */
export function describeQuestion({ operation, topic, qos }: Question): string {
  return topic === undefined ? operation : `${operation} ${topic} at QoS ${qos}`;
}

/** "permissions.yaml:12: role device allows devices/${device}/# (here devices/a/#)". */
export function describeRule(rule: DecidingRule, file: string): string {
  const { line, role, effect, filter, bound } = rule;
  const what = filter === undefined ? "it" : filter;
  const here = bound === filter ? "" : ` (here ${bound ?? ""})`;
  return `${file}:${line}: role ${role} ${effect === "allow" ? "allows" : "denies"} ${what}${here}`;
}

/** "permissions.yaml:30: payloads on cmd/# must be signed, at most 300 s old". */
export function describeDemand(demand: ExplainedDemand, file: string): string {
  const { line, filter, modes, checksMacs } = demand;
  const unchecked = modes.includes("mac") && !checksMacs ? "; the broker has no key to check MACs" : "";
  return `${file}:${line}: payloads on ${filter} must be ${describeModes(demand)}${unchecked}`;
}

/** "signed or mac, at most 300 s old". */
export function describeModes({
  modes,
  maxAgeSeconds,
  deliver,
}: Pick<ExplainedDemand, "modes" | "maxAgeSeconds" | "deliver">): string {
  const age = maxAgeSeconds === undefined ? "" : `, at most ${maxAgeSeconds} s old`;
  const to = deliver === undefined ? "" : ` to the server, which delivers them ${deliverWords[deliver]}`;
  return `${modes.join(" or ")}${to}${age}`;
}

const deliverWords = { plain: "in plain text over TLS", sealed: "sealed for a group" } as const;

/** An answer for people: yes or no first, then the lines of the file that say so. */
export function renderExplanation(
  who: string,
  question: Question,
  { permitted, rules, reason, grantedQoS, payload, remarks }: Explanation,
  file: string,
): string {
  const granted = grantedQoS === undefined ? "" : `, but is granted QoS ${grantedQoS} only`;
  const lines = [
    permitted
      ? `yes: ${who} may ${describeQuestion(question)}${granted}`
      : `no: ${who} may not ${describeQuestion(question)}: ${reason ?? ""}`,
    ...rules.map((rule) => `  ${describeRule(rule, file)}`),
    ...(payload === undefined ? [] : [`  ${describeDemand(payload, file)}`]),
    ...remarks.map((remark) => `  ${remark}`),
  ];
  return `${lines.join("\n")}\n`;
}
