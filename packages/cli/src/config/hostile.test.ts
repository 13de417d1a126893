import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  array,
  assert as holds,
  constantFrom,
  dictionary,
  integer,
  jsonValue,
  letrec,
  oneof,
  property,
  string,
} from "fast-check";
import { stringify } from "yaml";

import { resolveConfiguration } from "./configuration.ts";
import { ConfigError } from "./errors.ts";
import { parseListenerUrl } from "./listener-url.ts";
import { parseConfig } from "./read.ts";

/** Either a configuration or one sentence of ours. */
function assertDecided(text: string): void {
  try {
    resolveConfiguration(parseConfig(text, "f"));
  } catch (thrown) {
    assert.ok(thrown instanceof ConfigError, `${String(thrown)} for ${JSON.stringify(text)}`);
    assert.match(thrown.message, /^f:\d+: [^\n]+$/, JSON.stringify(text));
  }
}

const keys = constantFrom(
  "listeners",
  "limits",
  "url",
  "anonymous",
  "log",
  "level",
  "metrics",
  "tls",
  "names",
  "data",
  "__proto__",
  "constructor",
  "packetBytesMax",
);

/** Values in the shape of a configuration, with wrong things in most places. */
const { value: almost } = letrec((tie) => ({
  value: oneof(
    { depthSize: "small" },
    jsonValue(),
    array(tie("value"), { maxLength: 3 }),
    dictionary(keys, tie("value"), { maxKeys: 4 }),
  ),
}));

describe("a hostile configuration", () => {
  it("is refused with one sentence or taken, whatever its text is", () => {
    holds(property(string({ unit: "binary", maxLength: 200 }), assertDecided));
    const pieces = constantFrom(
      "a",
      "listeners",
      ":",
      ": ",
      "- ",
      "\n",
      "  ",
      "\t",
      "!!binary ",
      "!!set ",
      "!x ",
      "&a ",
      "*a",
      "? ",
      "<<: ",
      "|",
      ">",
      "{",
      "}",
      "[",
      "]",
      ",",
      '"',
      "'",
      "#",
      "---\n",
      "...",
      "%YAML 1.1\n",
      "~",
      "null",
      "0x1",
      ".nan",
      "2001-12-14",
      "\uFEFF",
      "\u0000",
      "\u2028",
    );
    holds(
      property(array(pieces, { maxLength: 30 }), (parts) => assertDecided(parts.join(""))),
      { numRuns: 2_000 },
    );
  });

  it("is refused with one sentence or taken, whatever its values are", () => {
    holds(
      property(dictionary(keys, almost, { maxKeys: 5 }), (value) => assertDecided(stringify(value))),
      { numRuns: 1_000 },
    );
  });

  it("cannot make a listener URL be read in two ways", () => {
    const part = oneof(
      string({ maxLength: 8 }),
      constantFrom(
        "mqtt",
        "mqtts",
        "unix",
        "://",
        ":",
        "/",
        "[",
        "]",
        "::1",
        "127.0.0.1",
        "@",
        "%",
        "0",
        "99999",
      ),
      integer().map(String),
    );
    holds(
      property(array(part, { maxLength: 8 }), (parts) => {
        const url = parts.join("");
        const address = parseListenerUrl(url);
        if (address.kind === "invalid" || address.kind === "unix") return;
        assert.ok(url.startsWith(`${address.kind}://`) && url.includes(address.host));
        assert.ok(address.port >= 0 && address.port <= 65_535);
        assert.doesNotMatch(address.host, /[/@\s[\]]/);
      }),
      { numRuns: 2_000 },
    );
  });
});
