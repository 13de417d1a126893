import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { requestWith } from "../testing/chain.ts";
import { HttpHook } from "./http-hook.ts";

const startMs = Date.UTC(2027, 0, 1);

function start(
  answer: (body: string) => Promise<string>,
  options: { concurrentMax?: number; cacheSeconds?: number } = {},
) {
  let nowMs = startMs;
  const bodies: string[] = [];
  const hook = new HttpHook({
    post: (body) => {
      bodies.push(body);
      return answer(body);
    },
    clock: { wallMs: () => nowMs, monotonicMs: () => nowMs },
    concurrentMax: 32,
    cacheSeconds: 0,
    ...options,
  });
  const ask = async (username: string | undefined, password = "secret") =>
    hook.ask(requestWith({ username }), { password: Buffer.from(password) });
  return { hook, ask, bodies, pass: (seconds: number) => (nowMs += seconds * 1_000) };
}

function say(value: unknown): () => Promise<string> {
  return () => Promise.resolve(typeof value === "string" ? value : JSON.stringify(value));
}

describe("the HTTP hook", () => {
  it("lets in whom the answer allows, with roles, groups and an end", async () => {
    const until = new Date(startMs + 60_000).toISOString();
    const t = start(
      say({ result: "allow", name: "alice@example.org", roles: ["observer"], groups: ["hall"], until }),
    );
    assert.deepEqual(await t.ask("alice"), {
      kind: "allow",
      identity: { name: "alice@example.org", anonymous: false, roles: ["observer"], groups: ["hall"] },
      untilMs: startMs + 60_000,
    });
    const plain = await start(say({ result: "allow" })).ask("bob");
    assert.deepEqual(plain.kind === "allow" && [plain.identity.name, plain.untilMs], ["bob", Infinity]);
  });

  it("says no for a no, for an end that is past, and for a secret that is no text", async () => {
    assert.equal((await start(say({ result: "deny" })).ask("alice")).kind, "deny");
    const past = { result: "allow", until: new Date(startMs).toISOString() };
    assert.equal((await start(say(past)).ask("alice")).kind, "deny");
    const t = start(say({ result: "allow" }));
    const answer = await t.hook.ask(requestWith({ username: "a" }), { password: Buffer.from([0xff, 0xfe]) });
    assert.equal(answer.kind, "deny");
    assert.equal(t.bodies.length, 0);
  });

  for (const [what, answer] of [
    ["no JSON", "yes"],
    ["nothing", ""],
    ["a list", "[]"],
    ["another word", { result: "allowed" }],
    ["more than it may say", { result: "allow", superuser: true }],
    ["a wildcard as name", { result: "allow", name: "#" }],
    ["a name with a level", { result: "allow", name: "a/b" }],
    ["a system name", { result: "allow", name: "$SYS" }],
    ["a role with a wildcard", { result: "allow", roles: ["+"] }],
    ["roles that are no list", { result: "allow", roles: "admin" }],
    ["too many roles", { result: "allow", roles: Array.from({ length: 65 }, () => "r") }],
    ["an end that is no time", { result: "allow", until: "tomorrow" }],
    ["both", { result: "deny", name: "alice" }],
  ] as const) {
    it(`lets nobody in for ${what}`, async () => {
      assert.equal((await start(say(answer)).ask("alice")).kind, "unavailable");
    });
  }

  it("lets nobody in who has no name, or when it cannot be asked", async () => {
    assert.equal((await start(say({ result: "allow" })).ask(undefined)).kind, "unavailable");
    const down = await start(() => Promise.reject(new Error("no answer within 3 s"))).ask("alice");
    assert.deepEqual(down, { kind: "unavailable", reason: "no answer within 3 s" });
  });

  it("asks no more than so many questions at once", async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const t = start(() => promise, { concurrentMax: 2 });
    const answers = ["a", "b", "c"].map((name) => t.ask(name));
    assert.equal((await answers[2])?.kind, "unavailable");
    resolve('{"result":"allow"}');
    assert.deepEqual(
      (await Promise.all(answers)).map(({ kind }) => kind),
      ["allow", "allow", "unavailable"],
    );
    assert.equal((await t.ask("d")).kind, "allow");
  });

  it("remembers a yes for a while, for the very same question and not beyond its end; never a no", async () => {
    const t = start(say({ result: "allow", until: new Date(startMs + 20_000).toISOString() }), {
      cacheSeconds: 15,
    });
    for (let index = 0; index < 3; index += 1) await t.ask("alice");
    assert.equal(t.bodies.length, 1);
    await t.ask("alice", "another");
    await t.ask("bob");
    assert.equal(t.bodies.length, 3);
    t.pass(16);
    await t.ask("alice");
    assert.equal(t.bodies.length, 4);
    t.pass(5);
    assert.equal((await t.ask("alice")).kind, "deny");
    assert.equal(t.bodies.length, 5);
    const no = start(say({ result: "deny" }), { cacheSeconds: 15 });
    for (let index = 0; index < 3; index += 1) await no.ask("alice");
    assert.equal(no.bodies.length, 3);
  });
});
