import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import type { IpSource } from "@postern/knock/ip-address";

import { defaultBanRule, Sentry, sourcesMax } from "./sentry.ts";
import { source } from "./testing/firewall-suite.ts";

const startMs = 1_795_418_364_000;
const minuteMs = 60_000;

function sentryOf(strict = false): Sentry {
  return new Sentry({ ...defaultBanRule, strict });
}

function numbered(number: number): IpSource {
  return source(`10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`);
}

function kinds(sentry: Sentry, from: IpSource, times: readonly number[]): string[] {
  return times.map((atMs) => sentry.offend(from, atMs).kind);
}

setFlagsFromString("--expose-gc");

/** What lives, after a collection. */
function heapBytes(): number {
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}

describe("the sentry", () => {
  const victim = source("10.0.0.1");
  const six = [0, 1, 2, 3, 4, 5].map((n) => startMs + n);

  it("bans at the sixth invalid packet within 30 minutes, not at the fifth (thesis §3.8.2)", () => {
    const sentry = sentryOf();
    assert.deepEqual(kinds(sentry, victim, six.slice(0, 5)), Array(5).fill("counted"));
    assert.ok(!sentry.isBanned(victim, startMs));
    assert.deepEqual(sentry.offend(victim, startMs + 5), {
      kind: "ban",
      seconds: 21_600,
      replaced: undefined,
    });
    assert.ok(sentry.isBanned(victim, startMs + 21_600_000));
    assert.ok(!sentry.isBanned(victim, startMs + 21_600_006));
  });

  it("looks back 30 minutes from each packet on", () => {
    const sentry = sentryOf();
    const sparse = Array.from({ length: 50 }, (_, n) => startMs + n * 6.1 * minuteMs);
    assert.ok(kinds(sentry, victim, sparse).every((kind) => kind === "counted"));
    const dense = Array.from({ length: 6 }, (_, n) => startMs + 1000 * minuteMs + n * 5.9 * minuteMs);
    assert.equal(kinds(sentry, victim, dense).at(-1), "ban");
  });

  it("forgives ten times as much where somebody proved it in the last day or is connected, and reports that once", () => {
    const many = Array.from({ length: 120 }, (_, n) => startMs + n);
    for (const prove of [
      (sentry: Sentry) => sentry.prove(victim, startMs - 86_000_000),
      (sentry: Sentry) => sentry.connected(victim, 1),
    ]) {
      const sentry = sentryOf();
      prove(sentry);
      const judged = kinds(sentry, victim, many);
      assert.equal(judged.indexOf("spared"), 50);
      assert.equal(judged.filter((kind) => kind !== "counted").length, 1);
      assert.ok(!sentry.isBanned(victim, startMs + 120));
    }
    const sentry = sentryOf();
    sentry.prove(victim, startMs - 86_400_001);
    sentry.connected(victim, 1);
    sentry.connected(victim, -1);
    assert.equal(kinds(sentry, victim, six).at(-1), "ban");
  });

  it("looks at a few packets a second of a banned source, and at none when it is strict", () => {
    const sentry = sentryOf();
    sentry.ban(victim, startMs + 1_000_000);
    assert.deepEqual(
      [0, 1, 2, 3].map((n) => sentry.mayVerify(victim, startMs + n)),
      [true, true, false, false],
    );
    assert.ok(sentry.mayVerify(victim, startMs + 1_000));
    const strict = sentryOf(true);
    strict.ban(victim, startMs + 1_000_000);
    assert.ok(!strict.mayVerify(victim, startMs));
    assert.ok(strict.mayVerify(source("10.0.0.2"), startMs));
  });

  it("forgets the count with the ban it lifts", () => {
    const sentry = sentryOf();
    kinds(sentry, victim, six);
    assert.ok(sentry.lift(victim));
    assert.ok(!sentry.lift(victim));
    assert.deepEqual(kinds(sentry, victim, six.slice(0, 5)), Array(5).fill("counted"));
  });

  it("bans nobody while very many sources offend, says so once, and goes on a minute later", () => {
    const sentry = sentryOf();
    const judged = Array.from({ length: 20_000 }, (_, n) => sentry.offend(numbered(n), startMs));
    assert.equal(judged.filter((each) => each.kind === "flood" && each.began).length, 1);
    assert.ok(sentry.flooded);
    const victim = source("10.99.0.1");
    assert.ok(kinds(sentry, victim, six).every((kind) => kind === "flood"));
    assert.equal(sentry.banCount, 0);
    sentry.sweep(startMs + minuteMs);
    assert.ok(sentry.flooded);
    sentry.sweep(startMs + 2 * minuteMs);
    assert.ok(!sentry.flooded);
    const later = six.map((ms) => ms + 2 * minuteMs);
    assert.equal(kinds(sentry, victim, later).at(-1), "ban");
  });

  it("keeps a bounded number of everything, the oldest making room", () => {
    const sentry = sentryOf();
    for (let n = 0; n < sourcesMax + 10; n++) {
      const replaced = sentry.ban(numbered(n), startMs + 1_000_000);
      assert.equal(replaced, n < sourcesMax ? undefined : numbered(n - sourcesMax));
      sentry.prove(numbered(n), startMs);
      sentry.connected(numbered(n), 1);
    }
    assert.equal(sentry.banCount, sourcesMax);
    assert.ok(!sentry.isBanned(numbered(0), startMs));
    assert.ok(sentry.isBanned(numbered(sourcesMax + 9), startMs));
    sentry.sweep(startMs + 2_000_000);
    assert.equal(sentry.banCount, 0);
  });

  it("remembers a million forged sources in little memory", () => {
    const sentry = sentryOf();
    const before = heapBytes();
    for (let n = 0; n < 1_000_000; n++) sentry.offend(numbered(n), startMs + n * 20);
    const bytes = heapBytes() - before;
    assert.ok(bytes < 32 * 1_048_576, `${bytes} bytes`);
    assert.equal(sentry.offend(source("10.99.0.1"), startMs + 20_000_000).kind, "counted");
  });
});
