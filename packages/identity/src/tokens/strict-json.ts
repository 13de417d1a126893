/**
 * The object that a JSON text holds; `undefined` for another value, for what is no JSON, and for an object, at any depth, that has
 * one key twice: which of the two counts differs from reader to reader. @see RFC 8259 §4, RFC 7519 §4
 */
export function parseStrictObject(text: string): Readonly<Record<string, unknown>> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(value) || hasDuplicateKey(text)) return undefined;
  return value;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const token = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/g;

/** For text that is JSON already. */
function hasDuplicateKey(text: string): boolean {
  /** The keys of each object that is open; `undefined` for an array. */
  const open: (Set<string> | undefined)[] = [];
  let last = "";
  for (const [part] of text.matchAll(token)) {
    if (part === "{") open.push(new Set());
    else if (part === "[") open.push(undefined);
    else if (part === "}" || part === "]") open.pop();
    else if (part === ":") {
      const key: unknown = JSON.parse(last);
      const keys = open.at(-1);
      if (typeof key !== "string" || keys?.has(key) === true) return true;
      keys?.add(key);
    }
    last = part;
  }
  return false;
}
