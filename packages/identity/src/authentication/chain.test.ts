import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { HookAnswer } from "../hook/hook.ts";
import { PasswordQueue } from "../password/password-queue.ts";
import { certificateOf, nowMs, outcome, prepareChain, type RequestParts } from "../testing/chain.ts";

const password = (text: string): Uint8Array => Buffer.from(text);
const right = password("generated-password");

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0;
}

describe("what a connection must prove", () => {
  const cases: readonly (readonly [what: string, RequestParts, string])[] = [
    ["nothing", {}, "0x87"],
    ["nothing, on an anonymous listener", { anonymousAllowed: true }, " by nothing"],
    ["an empty user name and password", { username: "", password: password("") }, "0x87"],
    ["a user name alone", { username: "pump" }, "0x86"],
    ["a user name and an empty password", { username: "pump", password: password("") }, "0x86"],
    ["a password alone", { password: right }, "0x86"],
    ["the right password", { username: "pump", password: right }, "pump by password"],
    ["a wrong password", { username: "pump", password: password("wrong") }, "0x86"],
    ["a name that nobody has", { username: "nobody", password: right }, "0x86"],
    ["the password of another device", { username: "desk", password: right }, "0x86"],
    ["a device without a password", { username: "meter", password: right }, "0x86"],
    ["a revoked device", { username: "thief", password: right }, "0x86"],
    [
      "a wrong password on an anonymous listener",
      { anonymousAllowed: true, username: "pump", password: password("x") },
      "0x86",
    ],
    ["the right password in plain text", { confidential: false, username: "pump", password: right }, "0x87"],
    [
      "a password in plain text where nobody must prove anything",
      { confidential: false, anonymousAllowed: true, username: "pump", password: right },
      " by nothing",
    ],
    ["a certificate", { certificate: certificateOf("pump") }, "pump by certificate"],
    ["a foreign certificate", { certificate: certificateOf("foreign") }, "0x87"],
    [
      "a foreign certificate where nobody must prove anything",
      { certificate: certificateOf("foreign"), anonymousAllowed: true },
      "0x87",
    ],
    [
      "a foreign certificate and the right password",
      { certificate: certificateOf("foreign"), username: "pump", password: right },
      "0x87",
    ],
    [
      "a certificate and its user name",
      { certificate: certificateOf("pump"), username: "pump" },
      "pump by certificate",
    ],
    ["a certificate and another user name", { certificate: certificateOf("pump"), username: "desk" }, "0x86"],
    [
      "a certificate and its password",
      { certificate: certificateOf("pump"), username: "pump", password: right },
      "pump by certificate and password",
    ],
    [
      "a certificate and a wrong password",
      { certificate: certificateOf("pump"), username: "pump", password: password("x") },
      "0x86",
    ],
    [
      "a certificate and the password of another",
      { certificate: certificateOf("meter"), username: "pump", password: right },
      "0x86",
    ],
    ["a PSK identity", { pskIdentity: "lamp" }, "lamp by PSK"],
    ["a PSK identity that nobody has", { pskIdentity: "nobody" }, "0x87"],
    ["a PSK identity of a device without a key", { pskIdentity: "pump" }, "0x87"],
    ["a PSK identity and another user name", { pskIdentity: "lamp", username: "pump" }, "0x86"],
  ];
  for (const [what, parts, expected] of cases) {
    it(`${what}: ${expected}`, async () => {
      assert.equal(outcome(await prepareChain().connect(parts)), expected);
    });
  }

  for (const name of [
    "#",
    "+",
    "/",
    "$SYS",
    "pump\0",
    "\uffff",
    "pump ",
    "PUMP",
    "рump",
    "pump/#",
    "__proto__",
    "constructor",
  ]) {
    it(`the name ${JSON.stringify(name)} is nobody's, whatever it looks like`, async () => {
      assert.equal(outcome(await prepareChain().connect({ username: name, password: right })), "0x86");
    });
  }

  it("holds until the first of two proofs ends", async () => {
    const result = await prepareChain().connect({
      certificate: certificateOf("pump"),
      username: "pump",
      password: right,
    });
    assert.equal(result.kind === "accepted" && result.untilMs, nowMs + 1_000);
  });

  it("is no longer enough once the device was revoked, although its password was verified a moment ago", async () => {
    const t = prepareChain();
    assert.equal(outcome(await t.connect({ username: "pump", password: right })), "pump by password");
    t.put("pump", { removed: new Date(nowMs).toISOString() });
    assert.equal(outcome(await t.connect({ username: "pump", password: right })), "0x86");
  });

  it("is refused as busy, and held against nobody, when too many passwords wait", async () => {
    const t = prepareChain({
      queue: new PasswordQueue({ runningMax: 1, waitingMax: 0, waitMsMax: 1_000 }, () => 0),
    });
    const results = await Promise.all(
      ["pump", "desk", "meter"].map((username) => t.connect({ username, password: password("x") })),
    );
    assert.deepEqual(results.map(outcome), ["0x86", "0x89", "0x89"]);
    assert.equal(t.failures.status.failures.password, 1);
  });

  it("is looked at once when many connections bring it at the same moment, and wrong counts once", async () => {
    const t = prepareChain({
      queue: new PasswordQueue({ runningMax: 1, waitingMax: 0, waitMsMax: 1_000 }, () => 0),
    });
    const burst = (text: string): Promise<string[]> =>
      Promise.all(
        Array.from({ length: 200 }, async () =>
          outcome(await t.connect({ username: "pump", password: password(text) })),
        ),
      );
    assert.deepEqual(new Set(await burst("generated-password")), new Set(["pump by password"]));
    assert.deepEqual(new Set(await burst("wrong")), new Set(["0x86"]));
    assert.equal(t.failures.status.failures.password, 1);
  });

  it("does not open the door for another that is tried at the same moment", async () => {
    const t = prepareChain();
    const attempts: RequestParts[] = [
      { username: "pump", password: right },
      { username: "pump", password: password("wrong") },
      { username: "desk", password: right },
      { username: "pump", password: password("wrong"), address: "192.0.2.2" },
      { username: "pump", password: right, address: "192.0.2.2" },
    ];
    const results = await Promise.all(attempts.map(async (parts) => t.connect(parts)));
    assert.deepEqual(results.map(outcome), ["pump by password", "0x86", "0x86", "0x86", "pump by password"]);
    assert.equal(t.failures.status.failures.password, 3);
  });

  it("is refused unseen (0x9F) after too many failures, and a certificate still lets in", async () => {
    const t = prepareChain();
    for (let index = 0; index < 5; index += 1) await t.connect({ username: "pump", password: password("x") });
    assert.equal(outcome(await t.connect({ username: "pump", password: right })), "0x9f");
    assert.equal(outcome(await t.connect({ certificate: certificateOf("pump") })), "pump by certificate");
    assert.equal(
      outcome(await t.connect({ username: "pump", password: right, address: "192.0.2.2" })),
      "pump by password",
    );
  });

  it("takes as long for a name that nobody has as for a wrong password", async () => {
    const t = prepareChain();
    const time = async (username: string, round: number): Promise<number> => {
      const startMs = performance.now();
      await t.connect({ username, password: password("wrong"), address: `10.0.0.${round}` });
      return performance.now() - startMs;
    };
    const known: number[] = [];
    const unknown: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      known.push(await time("pump", round));
      unknown.push(await time("nobody", round));
    }
    const ratio = median(unknown) / median(known);
    assert.ok(ratio > 0.5 && ratio < 2, `${median(unknown)} ms for nobody, ${median(known)} ms for a device`);
  });
});

function allow(name: string): HookAnswer {
  return {
    kind: "allow",
    identity: { name, anonymous: false, roles: ["observer"], groups: [] },
    untilMs: nowMs + 5_000,
  };
}

describe("the hook", () => {
  it("decides for names that the registry does not have, and only for those", async () => {
    const t = prepareChain({ hook: (name) => (name === "alice" ? allow("alice") : { kind: "deny" }) });
    const alice = await t.connect({ username: "alice", password: password("hers") });
    assert.equal(outcome(alice), "alice by hook");
    assert.deepEqual(alice.kind === "accepted" && alice.identity.roles, ["observer"]);
    assert.equal(alice.kind === "accepted" && alice.untilMs, nowMs + 5_000);
    assert.equal(outcome(await t.connect({ username: "bob", password: password("his") })), "0x86");
    assert.equal(outcome(await t.connect({ username: "pump", password: password("x") })), "0x86");
    assert.equal(outcome(await t.connect({ username: "thief", password: right })), "0x86");
    assert.deepEqual(t.asked, ["alice", "bob"]);
  });

  it("cannot make somebody a device", async () => {
    const t = prepareChain({ hook: () => allow("pump") });
    assert.equal(outcome(await t.connect({ username: "mallory", password: password("x") })), "0x86");
  });

  it("lets nobody in, and blames nobody, when it cannot be asked", async () => {
    const t = prepareChain({ hook: () => ({ kind: "unavailable", reason: "no answer" }) });
    assert.equal(outcome(await t.connect({ username: "alice", password: password("hers") })), "0x88");
    assert.equal(t.failures.status.failures.password, 0);
  });
});
