import { z } from "zod";

import { nearest } from "./nearest.ts";

/** One finding of zod, as it stands in `ZodError.issues`. */
type Issue = z.core.$ZodIssue;

/** What is wrong, in words, and where. */
export interface Problem {
  /** Without file and line. */
  readonly text: string;
  /** Keys and indexes from the root; for an unknown key including it. */
  readonly path: readonly (string | number)[];
  /** Whether the line is that of the key itself rather than of its value. */
  readonly atKey: boolean;
  readonly suggestion?: string | undefined;
}

/** The parts of JSON Schema that our schemas use. */
const jsonSchema = z.object({
  properties: z.record(z.string(), z.unknown()).optional(),
  additionalProperties: z.unknown().optional(),
  items: z.unknown().optional(),
});

function partsOf(schema: unknown): z.infer<typeof jsonSchema> {
  return jsonSchema.safeParse(schema).data ?? {};
}

function keysOf(schema: unknown): string[] {
  return Object.keys(partsOf(schema).properties ?? {});
}

/** The keys that are known at `path`. */
function knownKeys(root: unknown, path: readonly (string | number)[]): string[] {
  let schema = root;
  for (const part of path) {
    const { properties, additionalProperties, items } = partsOf(schema);
    schema = typeof part === "number" ? items : (properties?.[part] ?? additionalProperties);
  }
  return keysOf(schema);
}

interface Section {
  readonly name: string;
  readonly schema: unknown;
}

function sectionsBelow({ name, schema }: Section): Section[] {
  const { properties = {}, additionalProperties, items } = partsOf(schema);
  const prefix = name === "" ? "" : `${name}.`;
  return [
    ...Object.entries(properties).map(([key, below]) => ({ name: `${prefix}${key}`, schema: below })),
    ...(items === undefined ? [] : [{ name: `${name}[]`, schema: items }]),
    ...(partsOf(additionalProperties).properties === undefined
      ? []
      : [{ name: `${prefix}*`, schema: additionalProperties }]),
  ];
}

/** The section of the whole document that knows `key`, one near the top first. */
function sectionOf(root: unknown, key: string): string | undefined {
  let sections: Section[] = [{ name: "", schema: root }];
  while (sections.length > 0) {
    const found = sections.find(({ schema }) => keysOf(schema).includes(key));
    if (found !== undefined) return found.name === "" ? "the top of the file" : found.name;
    sections = sections.flatMap(sectionsBelow);
  }
  return undefined;
}

/** `listeners[0].limits`; empty for the root. */
export function formatPath(path: readonly (string | number)[]): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`))
    .join("")
    .replace(/^\./, "");
}

function unknownKey(key: string, parent: readonly (string | number)[], schema: z.ZodType): Problem {
  const root: unknown = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  const known = knownKeys(root, parent);
  const under = parent.length === 0 ? "" : ` under ${formatPath(parent)}`;
  const section = sectionOf(root, key);
  const suggestion = section === undefined ? nearest(key, known) : undefined;
  let hint = "";
  if (section !== undefined) hint = `; it belongs under ${section}`;
  else if (suggestion !== undefined) hint = `; did you mean "${suggestion}"?`;
  else if (known.length <= 12) hint = `; known are ${known.join(", ")}`;
  return {
    text: `unknown key ${shown(key)}${under}${hint}`,
    path: [...parent, key],
    atKey: true,
    suggestion,
  };
}

const typeNames: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list (lines beginning with -)",
  object: "keys with values",
};

function shown(value: unknown): string {
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? "a list" : "keys with values";
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

interface Demand {
  readonly text: string;
  readonly suggestion?: string | undefined;
}

function oneOf(values: readonly unknown[], value: unknown): Demand {
  const words = values.map(String);
  const suggestion = typeof value === "string" ? nearest(value, words) : undefined;
  const hint = suggestion === undefined ? "" : `; did you mean "${suggestion}"?`;
  return { text: `must be one of ${words.join(", ")}, not ${shown(value)}${hint}`, suggestion };
}

/** What the value at a path must be, as the end of "<key> …". */
function demand(issue: Issue, value: unknown): Demand {
  if (value === undefined) return { text: "is missing" };
  if (issue.code === "invalid_value") return oneOf(issue.values, value);
  if (issue.code === "invalid_type") {
    return { text: `must be ${typeNames[issue.expected] ?? issue.expected}, not ${shown(value)}` };
  }
  if (issue.code === "too_small" && issue.origin === "number") {
    return { text: `must be at least ${issue.minimum}, not ${shown(value)}` };
  }
  if (issue.code === "too_big" && issue.origin === "number") {
    return { text: `must be at most ${issue.maximum}, not ${shown(value)}` };
  }
  if (issue.code === "too_small") return { text: "must not be empty" };
  if (issue.code === "too_big") return { text: `must not be longer than ${issue.maximum}` };
  const isWhole = typeof value === "object" && value !== null;
  return {
    text: issue.code === "custom" && !isWhole ? `${issue.message}, not ${shown(value)}` : issue.message,
  };
}

function valueAt(value: unknown, path: readonly (string | number)[]): unknown {
  let found = value;
  for (const part of path) {
    found = typeof found === "object" && found !== null ? Reflect.get(found, part) : undefined;
  }
  return found;
}

/** What was read, and by which rules. */
export interface Described {
  readonly value: unknown;
  readonly schema: z.ZodType;
  /** What messages call the whole: "the configuration". */
  readonly subject: string;
}

/** The problems that zod found in a value, in words. */
export function describeIssue(issue: Issue, { value, schema, subject: whole }: Described): Problem[] {
  const path = issue.path.map((part) => (typeof part === "symbol" ? String(part) : part));
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey(key, path, schema));
  const { text, suggestion } = demand(issue, valueAt(value, path));
  const subject = path.length === 0 ? whole : formatPath(path);
  return [{ text: `${subject} ${text}`, path, atKey: false, suggestion }];
}
