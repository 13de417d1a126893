import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import type { Exchange } from "./credentials.ts";
import {
  certificateOf,
  outcome,
  prepareChain,
  requestWith,
  scramClient,
  type RequestParts,
} from "../testing/chain.ts";

const right = Buffer.from("generated-password");

function begin(t: ReturnType<typeof prepareChain>, parts: RequestParts = {}): Exchange {
  const exchange = t.chain.exchange("SCRAM-SHA-256", requestWith(parts));
  assert.ok(exchange !== undefined);
  return exchange;
}

async function run(
  t: ReturnType<typeof prepareChain>,
  client: ReturnType<typeof scramClient>,
  { tamper, parts = {} }: { tamper?: (final: string) => string; parts?: RequestParts } = {},
) {
  const exchange = begin(t, parts);
  const first = await exchange.next(client.first);
  if (first.kind !== "continue") return { first: "", last: first, expected: "" };
  const serverFirst = Buffer.from(first.data ?? []).toString();
  const { message, expected } = client.final(serverFirst, tamper);
  return { first: serverFirst, last: await exchange.next(message), expected };
}

/** Salt and rounds that a name is shown, and what became of a wrong password. */
async function salt(name: string) {
  const { first, last } = await run(prepareChain(), scramClient(name, "x"));
  return { salt: first.replace(/^r=[^,]+/, ""), last: outcome(last) };
}

describe("SCRAM-SHA-256 (RFC 5802, RFC 7677)", () => {
  it("lets in who knows the password, and proves that the server knows it too", async () => {
    for (const header of ["n,,", "y,,"]) {
      const { last, expected } = await run(
        prepareChain(),
        scramClient("pump", "generated-password", { header }),
      );
      assert.equal(outcome(last), "pump by SCRAM-SHA-256");
      assert.equal(last.kind === "accepted" && Buffer.from(last.data ?? []).toString(), expected);
    }
  });

  for (const [what, client, tamper] of [
    ["a wrong password", scramClient("pump", "wrong"), undefined],
    ["a name that nobody has", scramClient("nobody", "generated-password"), undefined],
    ["a revoked device", scramClient("thief", "generated-password"), undefined],
    [
      "a password that somebody chose, of which there are no keys",
      scramClient("desk", "correct horse battery"),
      undefined,
    ],
    [
      "another nonce in the end",
      scramClient("pump", "generated-password"),
      (f: string) => f.replace(/r=.{8}/, "r=AAAAAAAA"),
    ],
    ["no proof", scramClient("pump", "generated-password"), (f: string) => f.replace(/,p=.*/, "")],
    ["an empty message", scramClient("pump", "generated-password"), () => ""],
    [
      "another channel binding flag in the end",
      scramClient("pump", "generated-password", { binding: "y,," }),
      undefined,
    ],
    [
      "channel binding, which is not offered",
      scramClient("pump", "generated-password", { header: "p=tls-exporter,," }),
      undefined,
    ],
    [
      "somebody else to act for",
      scramClient("pump", "generated-password", { header: "n,a=desk," }),
      undefined,
    ],
    ["a wrong escape in the name", scramClient("pu=mp", "generated-password"), undefined],
    ["no nonce", scramClient("pump", "generated-password", { nonce: "" }), undefined],
    [
      "a nonce that is too long",
      scramClient("pump", "generated-password", { nonce: "x".repeat(300) }),
      undefined,
    ],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const { last } = await run(prepareChain(), client, tamper === undefined ? {} : { tamper });
      assert.equal(outcome(last), "0x86");
    });
  }

  it("shows the same salt and rounds each time, for names that nobody has as well", async () => {
    const nobody = await salt("nobody");
    assert.deepEqual(nobody, await salt("nobody"));
    assert.notEqual(nobody.salt, (await salt("nobody2")).salt);
    assert.match(nobody.salt, /^,s=[A-Za-z0-9+/]{22}==,i=15000$/);
    assert.match((await salt("pump")).salt, /^,s=[A-Za-z0-9+/]{22}==,i=15000$/);
  });

  it("gives a proof no second chance, and replays none", async () => {
    const t = prepareChain();
    const exchange = begin(t);
    const client = scramClient("pump", "generated-password");
    const first = await exchange.next(client.first);
    assert.equal(first.kind, "continue");
    const { message } = client.final(Buffer.from((first.kind === "continue" && first.data) || []).toString());
    assert.equal(outcome(await exchange.next(message)), "pump by SCRAM-SHA-256");
    assert.equal(outcome(await exchange.next(message)), "0x86");
    const replay = begin(t);
    await replay.next(client.first);
    assert.equal(outcome(await replay.next(message)), "0x86");
  });

  it("is not spoken in plain text, nor beside a password, nor for another name than the certificate's", async () => {
    const client = scramClient("pump", "generated-password");
    const t = prepareChain();
    assert.equal(outcome((await run(t, client, { parts: { confidential: false } })).last), "0x87");
    assert.equal(outcome((await run(t, client, { parts: { password: right } })).last), "0x87");
    assert.equal(outcome((await run(t, client, { parts: { username: "desk" } })).last), "0x86");
    assert.equal(
      outcome((await run(t, client, { parts: { certificate: certificateOf("desk") } })).last),
      "0x87",
    );
    const both = await run(t, client, { parts: { certificate: certificateOf("pump"), username: "pump" } });
    assert.equal(outcome(both.last), "pump by certificate and SCRAM-SHA-256");
  });

  it("counts failures as those of passwords", async () => {
    const t = prepareChain();
    for (let index = 0; index < 5; index += 1) await run(t, scramClient("pump", "wrong"));
    assert.equal(outcome((await run(t, scramClient("pump", "generated-password"))).last), "0x9f");
    assert.equal(outcome(await t.connect({ username: "pump", password: right })), "0x9f");
  });

  it("lets nobody in for messages at random, and throws nothing", async () => {
    const text = fc.oneof(
      fc.string(),
      fc.tuple(fc.string(), fc.string()).map(([name, nonce]) => `n,,n=${name},r=${nonce}`),
      fc.tuple(fc.string(), fc.base64String()).map(([nonce, proof]) => `c=biws,r=${nonce},p=${proof}`),
    );
    const bytes = fc.oneof(
      text.map((value) => Buffer.from(value)),
      fc.uint8Array({ maxLength: 200 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(bytes, { minLength: 1, maxLength: 4 }), async (messages) => {
        const exchange = begin(prepareChain());
        for (const message of messages) assert.notEqual((await exchange.next(message)).kind, "accepted");
      }),
      { numRuns: 500 },
    );
  });

  it("is the only method beside OAUTH2-JWT", () => {
    const t = prepareChain();
    for (const method of ["SCRAM-SHA-1", "PLAIN", "", "scram-sha-256"])
      assert.equal(t.chain.exchange(method, requestWith({})), undefined);
  });
});
