/** Topic names and filters take at most this many bytes of UTF-8. @see MQTT 5.0 §4.7.3 [MQTT-4.7.3-3] */
const topicBytesMax = 65_535;

const slash = 0x2f;
const plus = 0x2b;
const hash = 0x23;
const dollar = 0x24;

function isTopicText(text: string): boolean {
  if (text.length === 0 || text.length > topicBytesMax || text.includes("\0")) return false;
  return text.length * 3 <= topicBytesMax || Buffer.byteLength(text) <= topicBytesMax;
}

/** Whether a text may be published to: 1 to 65,535 bytes, no wildcard characters, no U+0000. @see MQTT 5.0 §4.7 [MQTT-4.7.0-1] */
export function isTopicName(text: string): boolean {
  return isTopicText(text) && !text.includes("+") && !text.includes("#");
}

/**
 * Whether a text is a legal topic filter: `+` fills a whole level, `#` fills the whole last level. So
 * `sensors/#/temperature` is none. A filter of a shared subscription is to be taken apart first (`parseSharedFilter`).
 * @see MQTT 5.0 §4.7.1 [MQTT-4.7.1-1] [MQTT-4.7.1-2]
 */
export function isTopicFilter(text: string): boolean {
  if (!isTopicText(text)) return false;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code !== plus && code !== hash) continue;
    const isLast = index === text.length - 1;
    if (index > 0 && text.charCodeAt(index - 1) !== slash) return false;
    if (code === hash ? !isLast : !isLast && text.charCodeAt(index + 1) !== slash) return false;
  }
  return true;
}

/** How many levels a topic name or filter has: one more than it has slashes, so an empty text has one. */
export function topicLevelCount(text: string): number {
  let count = 1;
  for (let index = text.indexOf("/"); index !== -1; index = text.indexOf("/", index + 1)) count++;
  return count;
}

/**
 * Whether a legal topic filter matches a legal topic name. A filter that begins with a wildcard does not match a
 * topic that begins with `$`; `a/#` matches `a` too.
 * @see MQTT 5.0 §4.7.1.2, §4.7.2 [MQTT-4.7.2-1], §4.7.3
 */
export function matchesFilter(filter: string, topic: string): boolean {
  const first = filter.charCodeAt(0);
  if (topic.charCodeAt(0) === dollar && (first === plus || first === hash)) return false;
  let at = 0;
  let index = 0;
  for (; index < filter.length; index++) {
    const code = filter.charCodeAt(index);
    if (code === hash) return true;
    if (code === plus) {
      while (at < topic.length && topic.charCodeAt(at) !== slash) at++;
    } else if (at < topic.length && topic.charCodeAt(at) === code) {
      at++;
    } else {
      return at === topic.length && index === filter.length - 2 && filter.endsWith("/#");
    }
  }
  return at === topic.length;
}

/** The two parts of `$share/{group}/{filter}`. */
export interface SharedFilter {
  readonly group: string;
  readonly filter: string;
}

const sharedPrefix = "$share/";

/** Whether a filter asks for a shared subscription, be it well formed or not. @see MQTT 5.0 §4.8.2 */
export function isSharedFilter(filter: string): boolean {
  return filter.startsWith(sharedPrefix);
}

/**
 * Takes the filter of a shared subscription apart. `undefined` for a filter that does not begin with `$share/`;
 * `"invalid"` when the share name is empty or holds a wildcard, or when what follows is missing or no legal filter.
 * @see MQTT 5.0 §4.8.2 [MQTT-4.8.2-1] [MQTT-4.8.2-2]
 */
export function parseSharedFilter(text: string): SharedFilter | "invalid" | undefined {
  if (!isSharedFilter(text)) return undefined;
  const groupEnd = text.indexOf("/", sharedPrefix.length);
  if (groupEnd === -1) return "invalid";
  const group = text.slice(sharedPrefix.length, groupEnd);
  const filter = text.slice(groupEnd + 1);
  return isTopicName(group) && isTopicFilter(text) && isTopicFilter(filter) ? { group, filter } : "invalid";
}
