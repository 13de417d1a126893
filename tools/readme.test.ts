import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseMarkdown } from "./markdown.ts";
import { read } from "./repository.ts";
import { absentPrograms, runDocument } from "./run-document.ts";

describe("README.md", () => {
  it("has exactly the two commands that set everything up", () => {
    const commands = parseMarkdown(read("README.md"))
      .fences.filter(({ info }) => info[0] === "sh")
      .flatMap(({ text }) => text.split("\n"))
      .filter((line) => line.includes("npm ci"));
    assert.deepEqual(commands, ["npm ci && npm start", "npm ci && npm test"]);
  });

  const skip = absentPrograms("README.md", ["mosquitto_pub", "mosquitto_sub"]);
  it("has commands that work as they stand", { skip, timeout: 120_000 }, () => runDocument("README.md"));
});

describe("docs/ENROLMENT.md", () => {
  const skip = absentPrograms("docs/ENROLMENT.md", ["curl", "mosquitto_pub", "openssl"]);
  it("has commands that work as they stand", { skip, timeout: 120_000 }, () =>
    runDocument("docs/ENROLMENT.md"),
  );
});

describe("docs/PERMISSIONS.md", () => {
  it("has commands that work as they stand", { timeout: 120_000 }, () => runDocument("docs/PERMISSIONS.md"));
});

describe("docs/SEALING.md", () => {
  it("has commands that work as they stand", { timeout: 120_000 }, () => runDocument("docs/SEALING.md"));
});
