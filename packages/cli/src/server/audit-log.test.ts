import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import type { AuditEvent } from "@postern/broker/ports";
import { silentLog } from "@postern/core/log";

import { FileAuditLog } from "./audit-log.ts";

const event: AuditEvent = {
  kind: "connect-refused",
  listener: "l",
  address: "::1",
  clientId: "c",
  identity: "",
  detail: "d",
};

function assertChain(chain: readonly string[], first = "0".repeat(64)): string {
  return chain.reduce((previous, line) => {
    const value: unknown = JSON.parse(line);
    assert.ok(typeof value === "object" && value !== null && "previous" in value);
    assert.equal(value.previous, previous);
    return createHash("sha256").update(line).digest("hex");
  }, first);
}

describe("audit log", () => {
  let directory: string;
  let nowMs: number;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "postern-audit-"));
    nowMs = Date.UTC(2027, 0, 1);
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  function open(fileBytesMax?: number): FileAuditLog {
    const clock = { wallMs: () => nowMs, monotonicMs: () => 0 };
    return new FileAuditLog(directory, {
      clock,
      log: silentLog,
      ...(fileBytesMax === undefined ? {} : { fileBytesMax }),
    });
  }

  function lines(name = "audit.jsonl"): string[] {
    return readFileSync(join(directory, name), "utf8").split("\n").filter(Boolean);
  }

  it("holds each event with its time, linked to the one before, over restarts", () => {
    for (let start = 0; start < 3; start += 1) {
      using log = open();
      log.recordServer("started", "v");
      log.record(event);
    }
    assert.equal(lines().length, 6);
    assertChain(lines());
    assert.deepEqual(JSON.parse(lines()[1] ?? ""), {
      time: "2027-01-01T00:00:00.000Z",
      ...event,
      previous: assertChain(lines().slice(0, 1)),
    });
    assert.equal(statSync(join(directory, "audit.jsonl")).mode & 0o777, 0o600);
  });

  it("goes on after a line that a crash cut short", () => {
    {
      using log = open();
      log.record(event);
    }
    appendFileSync(join(directory, "audit.jsonl"), '{"time":"20');
    {
      using log = open();
      log.record(event);
    }
    assert.equal(lines().length, 3);
    assert.deepEqual(Object.keys(JSON.parse(lines()[2] ?? "")).at(-1), "previous");
  });

  it("counts what exceeds 500 events of a kind in a second instead of writing it", () => {
    {
      using log = open();
      for (let count = 0; count < 2_000; count += 1) log.record(event);
      log.record({ ...event, kind: "publish-refused" });
      nowMs += 1_000;
      log.record(event);
    }
    assert.equal(lines().length, 503);
    assert.match(
      lines()[501] ?? "",
      /"kind":"suppressed","detail":"1500 more events \\"connect-refused\\" within one second"/,
    );
    assertChain(lines());
  });

  it("puts a full file aside, keeps the nine newest, and the chain goes on", async () => {
    {
      using log = open(2_000);
      for (let file = 0; file < 15; file += 1) {
        for (let count = 0; count < 6; count += 1) log.record(event);
        await new Promise((resolve) => setImmediate(resolve));
        nowMs += 1_000;
      }
    }
    const names = readdirSync(directory).sort();
    assert.equal(names.filter((name) => name.startsWith("audit-")).length, 9);
    const all = names.flatMap((name) => lines(name));
    const first: unknown = JSON.parse(all[0] ?? "");
    assert.ok(
      typeof first === "object" &&
        first !== null &&
        "previous" in first &&
        typeof first.previous === "string",
    );
    assertChain(all, first.previous);
  });
});
