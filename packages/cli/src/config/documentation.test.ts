import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { z } from "zod";

import { parseConfig } from "./read.ts";
import { resolveConfiguration } from "./configuration.ts";
import { configSchema } from "./schema.ts";

const text = readFileSync(
  fileURLToPath(new URL("../../../../docs/CONFIGURATION.md", import.meta.url)),
  "utf8",
);

const node = z.object({
  properties: z.record(z.string(), z.unknown()).optional(),
  items: z.unknown().optional(),
});

/** Every key of the schema that has no keys of its own; limits have their own page. */
function leaves(schema: unknown, path: string): string[] {
  const { properties, items } = node.parse(schema);
  if (items !== undefined && node.parse(items).properties !== undefined) return leaves(items, `${path}[]`);
  if (properties === undefined || path.endsWith("limits")) return [path];
  return Object.entries(properties).flatMap(([key, below]) =>
    leaves(below, path === "" ? key : `${path}.${key}`),
  );
}

describe("docs/CONFIGURATION.md", () => {
  it("describes every key of the configuration and no other", () => {
    const known = leaves(z.toJSONSchema(configSchema, { io: "input", unrepresentable: "any" }), "");
    const described: string[] = [...text.matchAll(/^\| `([a-zA-Z.[\]]+)` \| .* \| .* \|$/gm)].map(
      ([, key = ""]) => key,
    );
    assert.deepEqual(described.toSorted(), known.toSorted());
  });

  it("shows an example that works", () => {
    const [, example = ""] = /```yaml\n([^]*?)```/.exec(text) ?? [];
    const { listeners, warnings } = resolveConfiguration(parseConfig(example, "example"));
    assert.equal(listeners.length, 2);
    assert.deepEqual(warnings, [
      'mqtts://0.0.0.0:8883 can be reached from other machines, and nothing hides it: "gate: {}" would',
    ]);
  });
});
