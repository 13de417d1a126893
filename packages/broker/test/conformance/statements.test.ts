import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, it } from "node:test";

/** `docs/conformance.md` and the tests name the same statements and each other. */
const page = join(import.meta.dirname, "../../../../docs/conformance.md");

/** The statements of each version, counted from the appendices B of the specifications. */
const statementCounts = { "MQTT 3.1.1": 141, "MQTT 5.0": 251 } as const;
type Version = keyof typeof statementCounts;

function isVersion(text: string): text is Version {
  return text in statementCounts;
}

/** A statement and a test that proves it. */
function proof(version: Version, statement: string, file: string, name: string): string {
  return `${version} ${statement} ${file}: ${name}`;
}

/** What the names of the tests claim to prove. */
function claimed(): Set<string> {
  const proofs = new Set<string>();
  for (const fileName of readdirSync(import.meta.dirname)) {
    if (!fileName.endsWith(".test.ts")) continue;
    const source = readFileSync(join(import.meta.dirname, fileName), "utf8");
    let version: string | undefined;
    for (const [, suite, test] of source.matchAll(/\bdescribe\(\s*"(.*?)"|\bit\(\s*"(.*?)"/g)) {
      version = suite ?? version;
      if (test === undefined) continue;
      const { statements = "", name = "" } =
        /^(?<statements>(?:\[MQTT-[\d.]+-\d+\] )*)(?<name>.*)$/.exec(test)?.groups ?? {};
      for (const [statement] of statements.matchAll(/MQTT-[\d.]+-\d+/g)) {
        assert.ok(version !== undefined && isVersion(version), `${fileName}: ${test} is under no version`);
        proofs.add(proof(version, statement, basename(fileName, ".test.ts"), name));
      }
    }
  }
  return proofs;
}

interface Row {
  readonly version: Version;
  readonly statement: string;
  readonly provedBy: string;
}

function rows(): Row[] {
  const found: Row[] = [];
  let version: string | undefined;
  for (const line of readFileSync(page, "utf8").split("\n")) {
    version = /^## (.*)$/.exec(line)?.[1] ?? version;
    const { statement, provedBy } =
      /^\| (?<statement>MQTT-[\d.]+-\d+) \| .+ \| (?<provedBy>.+) \|$/.exec(line)?.groups ?? {};
    if (statement === undefined || provedBy === undefined) continue;
    assert.ok(version !== undefined && isVersion(version));
    found.push({ version, statement, provedBy });
  }
  return found;
}

/** The tests of a row: `file`: name; name; `file`: name. None where it says why there is none. */
function cited({ version, statement, provedBy }: Row): string[] {
  if (provedBy.startsWith("— ")) return [];
  let file = "";
  return provedBy.split("; ").map((part) => {
    const [, newFile, name = part] = /^`(.+?)`: (.*)$/.exec(part) ?? [];
    file = newFile ?? file;
    return proof(version, statement, file, name);
  });
}

describe("docs/conformance.md", () => {
  it("has every numbered statement of both versions once", () => {
    const all = rows();
    for (const [version, count] of Object.entries(statementCounts)) {
      const statements = all.filter((row) => row.version === version).map(({ statement }) => statement);
      assert.equal(new Set(statements).size, statements.length);
      assert.equal(statements.length, count, version);
    }
  });

  it("names the tests whose names name the statement, all of them and no others", () => {
    const inPage = rows().flatMap(cited);
    const inTests = claimed();
    const onlyInPage = inPage.filter((each) => !inTests.has(each));
    const onlyInTests = [...inTests].filter((each) => !inPage.includes(each));
    assert.deepEqual({ onlyInPage, onlyInTests }, { onlyInPage: [], onlyInTests: [] });
  });

  it("gives a reason where no test proves a statement", () => {
    for (const row of rows()) {
      if (cited(row).length === 0) assert.match(row.provedBy, /^— (client only|does not arise|every test)/);
    }
  });
});
