import { isSharedFilter, isTopicFilter, parseSharedFilter } from "@postern/mqtt/topics";

const shareForm = "a shared subscription is $share/GROUP/FILTER";

function sharedProblem(filter: string): string | undefined {
  if (parseSharedFilter(filter) !== "invalid") return undefined;
  const [, group = "", ...rest] = filter.split("/");
  if (group === "") return `the group is missing: ${shareForm}`;
  if (/[+#]/.test(group))
    return `the group "${group}" has a wildcard, which only the filter after it can have`;
  if (rest.length === 0 || rest.join("/") === "")
    return `the filter after the group is missing: ${shareForm}`;
  return plainProblem(rest.join("/"));
}

function plainProblem(filter: string): string | undefined {
  if (isTopicFilter(filter)) return undefined;
  if (filter === "") return "it is empty";
  if (filter.includes("\0")) return "it has the character U+0000";
  if (Buffer.byteLength(filter) > 65_535) return "it has more than 65,535 bytes";
  const levels = filter.split("/");
  for (const [index, level] of levels.entries()) {
    if (level.length > 1 && /[+#]/.test(level)) {
      const wildcard = level.includes("#") ? "#" : "+";
      return `"${wildcard}" must fill a whole level, and "${level}" has more than it`;
    }
    if (level === "#" && index < levels.length - 1) {
      const single = levels.with(index, "+").join("/");
      return `"#" stands for all levels below and can only be the last; for exactly one level write "${single}"`;
    }
  }
  return "it is not a legal topic filter";
}

/** What is wrong with a topic filter, for a sentence after it; `undefined` when it is legal. @see MQTT 5.0 §4.7.1, §4.8.2 */
export function filterProblem(filter: string): string | undefined {
  return isSharedFilter(filter) ? sharedProblem(filter) : plainProblem(filter);
}
