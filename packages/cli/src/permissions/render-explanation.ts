import type { DecidingRule, Explanation, Question } from "@postern/identity/permissions/explain";

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

/** An answer for people: yes or no first, then the lines of the file that say so. */
export function renderExplanation(
  who: string,
  question: Question,
  { permitted, rules, reason, grantedQoS, remarks }: Explanation,
  file: string,
): string {
  const granted = grantedQoS === undefined ? "" : `, but is granted QoS ${grantedQoS} only`;
  const lines = [
    permitted
      ? `yes: ${who} may ${describeQuestion(question)}${granted}`
      : `no: ${who} may not ${describeQuestion(question)}: ${reason ?? ""}`,
    ...rules.map((rule) => `  ${describeRule(rule, file)}`),
    ...remarks.map((remark) => `  ${remark}`),
  ];
  return `${lines.join("\n")}\n`;
}
