import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";

import type { AuditEvent } from "@postern/broker/ports";
import { silentLog } from "@postern/core/log";

import { FileAuditLog } from "./audit-log.ts";
import { verifyAuditLog, type VerifyOptions } from "./verify-audit-log.ts";

/** A client may put anything into its id. */
const event: AuditEvent = {
  kind: "connect-refused",
  listener: "l",
  address: "::1",
  clientId: "c\n\u2028\r\u0000\ud800",
  identity: "",
  detail: "d",
};

describe("the verification of an audit log", () => {
  let directory: string;
  let nowMs: number;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "postern-audit-"));
    nowMs = Date.UTC(2027, 0, 1);
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  /** A run of the server that wrote some events. */
  async function run(events: number, fileBytesMax = 10_000_000): Promise<void> {
    const clock = { wallMs: () => nowMs, monotonicMs: () => 0 };
    using log = new FileAuditLog(directory, { clock, log: silentLog, fileBytesMax });
    log.recordServer("started", "v");
    for (let count = 0; count < events; count += 1) {
      log.record(event);
      nowMs += 1_000;
      if (fileBytesMax < 10_000_000) await new Promise((resolve) => setImmediate(resolve));
    }
    log.recordServer("stopped", "");
  }

  const path = (): string => join(directory, "audit.jsonl");
  const lines = (): string[] => readFileSync(path(), "utf8").trimEnd().split("\n");
  const write = (changed: readonly string[]): void => writeFileSync(path(), `${changed.join("\n")}\n`);

  async function found(options?: VerifyOptions): Promise<string[]> {
    const { intact, problems } = await verifyAuditLog(directory, options);
    assert.equal(intact, problems.length === 0);
    return problems.map(({ file, line }) => `${file}:${line}`);
  }

  it("finds nothing in what the server wrote, over restarts and files", async () => {
    await run(5);
    await run(30, 2_000);
    const { intact, lines: count, files, notes } = await verifyAuditLog(directory);
    assert.deepEqual({ intact, count, notes }, { intact: true, count: 39, notes: [] });
    assert.ok(files > 2);
    assert.deepEqual(await verifyAuditLog(join(directory)).then(({ from, until }) => [from, until]), [
      "2027-01-01T00:00:00.000Z",
      "2027-01-01T00:00:35.000Z",
    ]);
  });

  it("says which line does not follow, when one was changed, taken out, put in, doubled or moved", async () => {
    await run(10);
    const good = lines();
    const changes: readonly (readonly [readonly string[], string])[] = [
      [good.with(4, (good[4] ?? "").replace("::1", "::2")), "audit.jsonl:6"],
      [good.toSpliced(4, 1), "audit.jsonl:5"],
      [good.toSpliced(4, 3), "audit.jsonl:5"],
      [good.toSpliced(4, 0, good[3] ?? ""), "audit.jsonl:5"],
      [good.slice(1), "audit.jsonl:1"],
      [good.with(4, good[5] ?? "").with(5, good[4] ?? ""), "audit.jsonl:5"],
      [good.with(4, "nonsense"), "audit.jsonl:6"],
      [good.toSpliced(4, 0, "nonsense"), "audit.jsonl:6"],
    ];
    for (const [changed, where] of changes) {
      write(changed);
      assert.equal((await found())[0], where);
    }
    write(good);
    assert.deepEqual(await found(), []);
  });

  it("misses a whole file, first, in the middle or last before the current one", async () => {
    await run(60, 2_000);
    const names = readdirSync(directory)
      .sort()
      .filter((name) => name !== "audit.jsonl");
    assert.ok(names.length > 4 && names.length < 9);
    for (const name of [names[0], names[2], names.at(-1)]) {
      const file = join(directory, name ?? "");
      const text = readFileSync(file);
      rmSync(file);
      assert.equal((await found()).length, 1, name);
      writeFileSync(file, text);
    }
    assert.deepEqual(await found(), []);
  });

  it("accepts that old files were removed when there were too many", async () => {
    await run(200, 2_000);
    const { intact, notes } = await verifyAuditLog(directory);
    assert.equal(intact, true);
    assert.match(notes.join(), /what came before was removed/);
  });

  it("accepts a line that a crash cut short, but not that lines before it go with it", async () => {
    await run(3);
    appendFileSync(path(), '{"time":"20');
    await run(3);
    const { intact, notes } = await verifyAuditLog(directory);
    assert.equal(intact, true);
    assert.match(notes.join(), /audit\.jsonl:6 was cut short by a crash/);
    write(lines().toSpliced(4, 1));
    assert.deepEqual(await found(), ["audit.jsonl:5"]);
  });

  it("says that a run has no end, which a crash explains as well as somebody who cut it off", async () => {
    await run(3);
    write(lines().slice(0, -1));
    await run(3);
    assert.match(
      (await verifyAuditLog(directory)).notes.join(),
      /audit\.jsonl:5: the server started without having stopped/,
    );
  });

  it("shows a chain that was written anew, or cut off at its end, to whoever has a head from before", async () => {
    await run(5);
    const { head } = await verifyAuditLog(directory);
    await run(5);
    assert.deepEqual(await found({ anchor: head }), []);
    const good = lines();
    write(good.slice(0, 4));
    assert.deepEqual(await found(), []);
    assert.deepEqual(await found({ anchor: head }), ["audit.jsonl:4"]);
    rmSync(path());
    await run(5);
    assert.deepEqual(await found(), []);
    assert.deepEqual(await found({ anchor: head }), ["audit.jsonl:7"]);
  });

  it("compares with what a running server remembers", async () => {
    const clock = { wallMs: () => nowMs, monotonicMs: () => 0 };
    using log = new FileAuditLog(directory, { clock, log: silentLog });
    log.recordServer("started", "v");
    log.record(event);
    assert.deepEqual(await found({ runningHead: log.head }), []);
    write(lines().slice(0, 1));
    assert.deepEqual(await found({ runningHead: log.head }), ["audit.jsonl:1"]);
  });
});
