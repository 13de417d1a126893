import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { defaultFailureLimits, type FailureLimits } from "./failure-limits.ts";
import { FailureRecorder, type FailureEvent, type Verdict } from "./failure-recorder.ts";

function start(limits: Partial<FailureLimits> = {}) {
  let nowMs = 1_000_000;
  const events: FailureEvent[] = [];
  const recorder = new FailureRecorder({
    clock: { wallMs: () => nowMs, monotonicMs: () => nowMs },
    limits: { ...defaultFailureLimits, ...limits },
    onFailure: (event) => events.push(event),
  });
  const begin = (address: string, identity: string): Verdict => recorder.begin({ address, identity });
  /** Whether an attempt is looked at; it ends as said. */
  const attempt = (address: string, identity: string, right: boolean): boolean => {
    const verdict = begin(address, identity);
    if (verdict.kind === "refuse") return false;
    if (right) verdict.attempt.succeeded();
    else verdict.attempt.failed("password");
    return true;
  };
  const fail = (times: number, address: string, identity: string): number => {
    let looked = 0;
    for (let index = 0; index < times; index += 1) looked += attempt(address, identity, false) ? 1 : 0;
    return looked;
  };
  return { recorder, events, begin, attempt, fail, pass: (seconds: number) => (nowMs += seconds * 1_000) };
}

const attacker = "192.0.2.1";
const home = "198.51.100.7";

describe("failed proofs", () => {
  it("cost nothing at first, then a wait that doubles up to its bound", () => {
    const { attempt, fail, pass, events } = start({ backOffSecondsMax: 8 });
    assert.equal(fail(20, attacker, "pump"), 5);
    const waits: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const waitMs = events.at(-1)?.waitMs ?? 0;
      waits.push(waitMs / 1_000);
      pass(waitMs / 1_000 - 0.001);
      assert.equal(attempt(attacker, "pump", false), false);
      pass(0.001);
      assert.equal(attempt(attacker, "pump", false), true);
    }
    assert.deepEqual(waits, [1, 2, 4, 8, 8]);
  });

  it("are forgotten once there were none for a while", () => {
    const { fail, pass } = start();
    assert.equal(fail(20, attacker, "pump"), 5);
    pass(901);
    assert.equal(fail(20, attacker, "pump"), 5);
  });

  it("of one source do not touch the same identity elsewhere, nor another identity there", () => {
    const { attempt, fail } = start();
    fail(20, attacker, "pump");
    assert.equal(attempt(home, "pump", true), true);
    assert.equal(attempt(attacker, "valve", true), true);
  });

  it("for many identities stop a source, not those behind it who proved themselves before", () => {
    const { attempt, fail } = start();
    assert.equal(attempt(attacker, "neighbour", true), true);
    for (let index = 0; index < 200; index += 1) fail(1, attacker, `guess-${index}`);
    assert.equal(attempt(attacker, "guess-new", false), false);
    assert.equal(attempt(attacker, "neighbour", true), true);
    assert.equal(attempt(home, "guess-new", true), true);
  });

  it("from everywhere never lock an identity: strangers are delayed, its own places are not", () => {
    const { attempt, begin, fail } = start();
    assert.equal(attempt(home, "pump", true), true);
    for (let index = 0; index < 1_000; index += 1) fail(1, `10.0.${index >> 8}.${index & 255}`, "pump");
    assert.equal(begin(home, "pump").kind, "go");
    const stranger = begin("203.0.113.9", "pump");
    assert.equal(stranger.kind, "wait");
    assert.equal(begin("203.0.113.9", "valve").kind, "go");
  });

  it("of all networks of one /64 count together (IPv6)", () => {
    const { fail, attempt } = start();
    fail(3, "2001:db8::1", "pump");
    fail(3, "2001:db8::2", "pump");
    assert.equal(attempt("2001:db8::3", "pump", false), false);
    assert.equal(attempt("2001:db8:0:1::3", "pump", false), true);
  });

  it("are bounded for attempts that come all at once, before any has failed", () => {
    const { begin } = start();
    const verdicts = Array.from({ length: 100 }, () => begin(attacker, "pump"));
    assert.equal(verdicts.filter(({ kind }) => kind === "go").length, 5);
    const others = Array.from({ length: 100 }, (_, index) => begin(attacker, `p${index}`));
    assert.equal(others.filter(({ kind }) => kind === "go").length, 64 - 5);
    for (const verdict of verdicts) if (verdict.kind === "go") verdict.attempt.dropped();
    assert.equal(begin(attacker, "pump").kind, "go");
  });

  it("that cannot be guessed are counted and told, and keep nobody waiting", () => {
    const { recorder, attempt, events } = start();
    for (let index = 0; index < 1_000; index += 1)
      recorder.record(
        { address: attacker, identity: "pump" },
        index % 2 === 0 ? "certificate" : "permission",
      );
    assert.equal(attempt(attacker, "pump", true), true);
    assert.equal(events.length, 1_000);
    const { failures } = recorder.status;
    assert.deepEqual(failures, { certificate: 500, password: 0, token: 0, psk: 0, permission: 500 });
  });

  it("are remembered within bounds, however many sources and names there are", () => {
    const { recorder, fail } = start({ rememberedMax: 100 });
    for (let index = 0; index < 10_000; index += 1) fail(1, `10.1.${index >> 8}.${index & 255}`, `x${index}`);
    assert.equal(recorder.status.sources, 100);
    fail(1, attacker, "n".repeat(100_000));
    assert.ok(recorder.status.sources <= 100);
  });

  it("are not held against whoever succeeds, and those who never failed take no room", () => {
    const { attempt, fail, recorder } = start();
    fail(4, home, "pump");
    assert.equal(attempt(home, "pump", true), true);
    assert.equal(fail(20, home, "pump"), 5);
    for (let index = 0; index < 100; index += 1) attempt(`10.2.0.${index}`, "valve", true);
    assert.equal(recorder.status.sources, 1);
  });
});
