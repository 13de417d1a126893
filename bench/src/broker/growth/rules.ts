import { indices } from "../load/in-turns.ts";

const filtersPerRule = 100;

/**
 * Rules with so many filters, none of them about what the load publishes; short, as a file may have a megabyte. One more is another
 * for each client, as those of devices are.
 */
export function rulesWith(filters: number): string {
  let text = '      - topics: ["own/${client}/#"]\n        allow: [subscribe]\n';
  for (let at = 0; at < filters; at += filtersPerRule) {
    const topics = indices(Math.min(filtersPerRule, filters - at)).map(
      (index) => `"r/${(at + index).toString(36)}"`,
    );
    text += `      - topics: [${topics.join(",")}]\n        allow: [publish,subscribe]\n`;
  }
  return text;
}
