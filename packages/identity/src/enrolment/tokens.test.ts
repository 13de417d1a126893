import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { EnrolmentError, PkiFileError } from "../errors.ts";
import { EnrolmentTokens, tokenState } from "./tokens.ts";

const startMs = Date.UTC(2027, 0, 1);
const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const lamp = { device: "lamp", tenant: "default" } as const;
const by = { from: "192.0.2.1", keyId: "k" } as const;

function prepare() {
  const directory = mkdtempSync(join(tmpdir(), "postern-tokens-"));
  return {
    path: join(directory, "enrolments.jsonl"),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

describe("enrolment tokens", () => {
  it("are found by their secret, which is on disk nowhere, also after the file is read again", () => {
    using place = prepare();
    const tokens = new EnrolmentTokens(place.path);
    const { secret, token } = tokens.create({ ...lamp, roles: ["device"], groups: ["hall"] }, startMs);
    assert.match(secret, /^pet_[A-Za-z0-9_-]{32}$/);
    assert.equal(tokens.findBySecret(secret), token);
    tokens.close();
    assert.ok(!readFileSync(place.path, "utf8").includes(secret.slice(4)));
    assert.equal(statSync(place.path).mode & 0o777, 0o600);
    using read = new EnrolmentTokens(place.path);
    assert.deepEqual(read.findBySecret(secret), token);
    assert.deepEqual(read.list(), [token]);
    for (const other of ["", secret.slice(0, -1), `${secret}A`, token.hash, token.id])
      assert.equal(read.findBySecret(other), undefined);
  });

  it("are used once, also when the process dies right after", () => {
    using place = prepare();
    const tokens = new EnrolmentTokens(place.path);
    const { secret, token } = tokens.create(lamp, startMs);
    assert.ok(tokens.consume(token.id, by, startMs + 1));
    assert.ok(!tokens.consume(token.id, by, startMs + 1));
    using afterCrash = new EnrolmentTokens(place.path);
    const found = afterCrash.findBySecret(secret);
    assert.ok(found !== undefined && tokenState(found, startMs) === "used");
    assert.deepEqual(found.used, { at: "2027-01-01T00:00:00.001Z", ...by });
    assert.ok(!afterCrash.consume(token.id, by, startMs + 2));
    tokens.close();
  });

  it("run out after an hour, or when they are told to", () => {
    using place = prepare();
    using tokens = new EnrolmentTokens(place.path);
    const { token } = tokens.create(lamp, startMs);
    assert.equal(tokenState(token, startMs + hourMs - 1), "open");
    assert.equal(tokenState(token, startMs + hourMs), "expired");
    assert.ok(!tokens.consume(token.id, by, startMs + hourMs));
    const long = tokens.create({ ...lamp, lifeMs: 2 * dayMs }, startMs);
    assert.ok(tokens.consume(long.token.id, by, startMs + 2 * dayMs - 1));
  });

  it("can be cancelled until they are used", () => {
    using place = prepare();
    using tokens = new EnrolmentTokens(place.path);
    const { token } = tokens.create(lamp, startMs);
    const cancelled = tokens.cancel(token.id, startMs);
    assert.ok(cancelled !== undefined && tokenState(cancelled, startMs) === "cancelled");
    assert.ok(!tokens.consume(token.id, by, startMs));
    assert.equal(tokens.cancel(token.id, startMs), undefined);
    assert.equal(tokens.cancel("00000000", startMs), undefined);
  });

  it("are refused for names and lives that cannot be", () => {
    using place = prepare();
    using tokens = new EnrolmentTokens(place.path);
    for (const wrong of [
      { ...lamp, device: "a b" },
      { ...lamp, device: "../x" },
      { ...lamp, tenant: "" },
      { ...lamp, roles: ["#"] },
      { ...lamp, groups: ["a/b"] },
      { ...lamp, lifeMs: 0 },
      { ...lamp, lifeMs: 31 * dayMs },
      { ...lamp, lifeMs: Number.NaN },
    ])
      assert.throws(() => tokens.create(wrong, startMs), EnrolmentError, JSON.stringify(wrong));
    assert.deepEqual(tokens.list(), []);
  });

  it("are forgotten a month after their end", () => {
    using place = prepare();
    using tokens = new EnrolmentTokens(place.path);
    const old = tokens.create(lamp, startMs);
    const young = tokens.create(lamp, startMs + 10 * dayMs);
    tokens.compact(startMs + 31 * dayMs);
    assert.equal(tokens.findBySecret(old.secret), undefined);
    assert.deepEqual(tokens.list(), [young.token]);
    tokens.create(lamp, startMs + 31 * dayMs);
    using read = new EnrolmentTokens(place.path);
    assert.deepEqual(read.list(), tokens.list());
  });

  it("are refused as a whole when their file is damaged, which leaves it as it is", () => {
    using place = prepare();
    const tokens = new EnrolmentTokens(place.path);
    tokens.create(lamp, startMs);
    tokens.create(lamp, startMs);
    tokens.close();
    const text = readFileSync(place.path, "utf8");
    writeFileSync(place.path, text.replace('"lamp"', '"lump"'));
    assert.throws(() => new EnrolmentTokens(place.path), PkiFileError);
    assert.equal(readFileSync(place.path, "utf8"), text.replace('"lamp"', '"lump"'));
  });
});
