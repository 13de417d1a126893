import assert from "node:assert/strict";
import { createHmac, sign } from "node:crypto";
import { mkdirSync } from "node:fs";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { newDevice } from "../device.ts";
import { temporaryDataDirectory } from "../testing.ts";
import {
  certificate,
  ed25519,
  es256,
  goodClaims,
  goodHeader,
  jwk,
  nowMs,
  nowSeconds,
  outcome,
  part,
  rsa,
  strangers,
  thumbprint,
  token,
  verifierOf,
} from "../testing/tokens.ts";
import { DeviceTokens } from "./device-tokens.ts";
import type { TokenIssuer } from "./token-verifier.ts";

/** What a token with the RSA key is signed over. */
function signedRsa(alg: string): string {
  return `${part({ alg, kid: "rsa" })}.${part(goodClaims)}`;
}

/** A token that whoever knows the secret could make. */
function symmetric(secret: string | Buffer, alg = "HS256"): string {
  const signed = `${part({ alg, typ: "JWT", kid: "es" })}.${part(goodClaims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

function unsigned(alg: string): string {
  return `${part({ alg, typ: "JWT" })}.${part(goodClaims)}.`;
}

describe("tokens that are accepted", () => {
  const signedEdDSA = `${part({ alg: "EdDSA", kid: "ed" })}.${part(goodClaims)}`;
  const cases: readonly (readonly [
    what: string,
    text: string,
    changes?: Partial<TokenIssuer>,
    presented?: Uint8Array,
  ])[] = [
    ["ES256", token(goodClaims)],
    ["without a key id, when one key fits", token(goodClaims, { alg: "ES256" })],
    ["of an access token's type (RFC 9068)", token(goodClaims, { ...goodHeader, typ: "at+jwt" })],
    ["for several audiences", token({ ...goodClaims, aud: ["other", "mqtt-2"] })],
    ["just expired, within the leeway", token({ ...goodClaims, exp: nowSeconds - 29 })],
    [
      "from a clock that is ahead a little",
      token({ ...goodClaims, iat: nowSeconds + 29, nbf: nowSeconds + 29 }),
    ],
    [
      "EdDSA",
      `${signedEdDSA}.${sign(null, Buffer.from(signedEdDSA), ed25519.privateKey).toString("base64url")}`,
    ],
    [
      "RS256, where it is asked for",
      `${signedRsa("RS256")}.${sign("sha256", Buffer.from(signedRsa("RS256")), rsa.privateKey).toString("base64url")}`,
      { algorithms: ["RS256"] },
    ],
    [
      "bound to the certificate that is presented",
      token({ ...goodClaims, cnf: { "x5t#S256": thumbprint } }),
      {},
      certificate,
    ],
    [
      "with keys that it brings itself, which nobody looks at",
      token(goodClaims, {
        ...goodHeader,
        jku: "https://evil.example/",
        x5u: "file:///etc/passwd",
        jwk: jwk(strangers.publicKey, "es"),
      }),
    ],
  ];
  for (const [what, text, changes, presented] of cases) {
    it(what, async () => {
      assert.equal(await outcome(text, changes, presented), "pump");
    });
  }

  it("say when they end, with the leeway", async () => {
    const verdict = await verifierOf().verifier.verify(Buffer.from(token(goodClaims)), undefined);
    assert.equal(verdict.kind === "accepted" && verdict.untilMs, nowMs + 630_000);
  });

  it("name roles and groups of those who are no devices, where a claim for that is configured", async () => {
    const claims = { ...goodClaims, sub: "alice@example.org", roles: "observer admin", groups: ["hall-1"] };
    assert.equal(await outcome(token(claims)), "no device has the name in it");
    const { verifier } = verifierOf({ roleClaim: "roles", groupClaim: "groups" });
    const verdict = await verifier.verify(Buffer.from(token(claims)), undefined);
    assert.deepEqual(verdict.kind === "accepted" && verdict.identity, {
      name: "alice@example.org",
      anonymous: false,
      roles: ["observer", "admin"],
      groups: ["hall-1"],
    });
    for (const changes of [
      { sub: "a/b" },
      { sub: "#" },
      { sub: "+" },
      { roles: ["#"] },
      { roles: undefined },
      { roles: 1 },
      { groups: [{}] },
      { sub: "$SYS" },
    ]) {
      const refused = await verifier.verify(Buffer.from(token({ ...claims, ...changes })), undefined);
      assert.equal(refused.kind, "refused", JSON.stringify(changes));
    }
  });
});

describe("tokens that are refused", () => {
  const publicPem = es256.publicKey.export({ type: "spki", format: "pem" }).toString();
  const cases: readonly (readonly [
    what: string,
    text: string,
    changes?: Partial<TokenIssuer>,
    presented?: Uint8Array,
  ])[] = [
    ["no signature (none)", unsigned("none")],
    ["no signature (None)", unsigned("None")],
    ["no signature under a good algorithm", unsigned("ES256")],
    ["HS256 with the public key as the secret", symmetric(publicPem)],
    [
      "HS256 with the public key's bytes as the secret",
      symmetric(es256.publicKey.export({ type: "spki", format: "der" })),
    ],
    ["an algorithm that is not asked for", token(goodClaims, { ...goodHeader, alg: "RS256" })],
    ["an algorithm that is no text", token(goodClaims, { ...goodHeader, alg: ["ES256"] })],
    ["no algorithm", token(goodClaims, { kid: "es" })],
    ["another key's signature", token(goodClaims, goodHeader, strangers.privateKey)],
    ["the key of another algorithm", token(goodClaims, { ...goodHeader, kid: "ed" })],
    ["an unknown key id", token(goodClaims, { ...goodHeader, kid: "nobody" })],
    ["a key id that is a path", token(goodClaims, { ...goodHeader, kid: "../../../../dev/null" })],
    ["a key id that is SQL", token(goodClaims, { ...goodHeader, kid: "x' UNION SELECT 'key" })],
    ["a key id that is a member of every object", token(goodClaims, { ...goodHeader, kid: "__proto__" })],
    ["a key id that is no text", token(goodClaims, { ...goodHeader, kid: 1 })],
    [
      "an embedded key that it is signed with",
      token(goodClaims, { alg: "ES256", jwk: jwk(strangers.publicKey, "x") }, strangers.privateKey),
    ],
    [
      "a key at a URL that it is signed with",
      token(goodClaims, { alg: "ES256", kid: "x", jku: "https://evil.example/jwks" }, strangers.privateKey),
    ],
    [
      "a certificate at a URL",
      token(goodClaims, { alg: "ES256", kid: "x", x5u: "https://evil.example/x" }, strangers.privateKey),
    ],
    ["critical extensions", token(goodClaims, { ...goodHeader, crit: ["b64"], b64: false })],
    ["another type", token(goodClaims, { ...goodHeader, typ: "dpop+jwt" })],
    ["no expiry", token({ ...goodClaims, exp: undefined })],
    ["an expiry that is text", token({ ...goodClaims, exp: `${nowSeconds + 600}` })],
    [
      "an expiry that is no number",
      token(`{"iss":"https://id.example.org","aud":"mqtt","sub":"pump","exp":1e999}`),
    ],
    ["an expiry in the past", token({ ...goodClaims, exp: nowSeconds - 30 })],
    ["a validity that begins later", token({ ...goodClaims, nbf: nowSeconds + 31 })],
    ["an issue in the future", token({ ...goodClaims, iat: nowSeconds + 31 })],
    ["a time that is no number", token({ ...goodClaims, nbf: "0" })],
    ["another issuer", token({ ...goodClaims, iss: "https://evil.example" })],
    ["an issuer with a slash more", token({ ...goodClaims, iss: "https://id.example.org/" })],
    ["no issuer", token({ ...goodClaims, iss: undefined })],
    ["another audience", token({ ...goodClaims, aud: "web" })],
    ["no audience", token({ ...goodClaims, aud: undefined })],
    ["an empty list of audiences", token({ ...goodClaims, aud: [] })],
    ["an audience that holds ours", token({ ...goodClaims, aud: "mqtt,web" })],
    ["no subject", token({ ...goodClaims, sub: undefined })],
    ["a subject that is no device", token({ ...goodClaims, sub: "nobody" })],
    ["a subject that was revoked", token({ ...goodClaims, sub: "thief" })],
    [
      "a claim twice",
      token('{"iss":"https://id.example.org","aud":"mqtt","sub":"thief","sub":"pump","exp":9999999999}'),
    ],
    [
      "a claim twice, once in another spelling",
      token(
        '{"iss":"https://id.example.org","aud":"mqtt","sub":"thief","\\u0073ub":"pump","exp":9999999999}',
      ),
    ],
    [
      "a claim twice, deeper down",
      token(
        '{"iss":"https://id.example.org","aud":"mqtt","sub":"pump","exp":9999999999,"x":[{"a":1,"a":2}]}',
      ),
    ],
    ["a header field twice", token(goodClaims, '{"alg":"none","alg":"ES256","kid":"es"}')],
    ["claims that are a list", token([goodClaims])],
    ["claims that are no JSON", token("exp")],
    ["a megabyte", token({ ...goodClaims, x: "x".repeat(1_000_000) })],
    ["a changed claim", token(goodClaims).replace(/\.[^.]+\./, `.${part({ ...goodClaims, sub: "thief" })}.`)],
    ["a fourth part", `${token(goodClaims)}.x`],
    ["a space behind it", `${token(goodClaims)} `],
    ["base64 that is padded", token(goodClaims).replace(".", "=.")],
    ["a certificate that is not presented", token({ ...goodClaims, cnf: { "x5t#S256": thumbprint } })],
    [
      "another certificate than is presented",
      token({ ...goodClaims, cnf: { "x5t#S256": thumbprint } }),
      {},
      Buffer.from("another"),
    ],
    ["a confirmation that nobody can check", token({ ...goodClaims, cnf: { jkt: "x" } }), {}, certificate],
    ["an empty confirmation", token({ ...goodClaims, cnf: null }), {}, certificate],
    ["nothing", ""],
    ["dots", ".."],
  ];
  for (const [what, text, changes, presented] of cases) {
    it(what, async () => {
      assert.notEqual(await outcome(text, changes, presented), "pump");
    });
  }

  it("an answer that nobody wrote: bytes at random, and good tokens with some of them changed, throw nothing and let nobody in", async () => {
    const { verifier } = verifierOf();
    const good = Buffer.from(token(goodClaims));
    const changed = fc
      .array(fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 })), {
        minLength: 1,
        maxLength: 4,
      })
      .map((changes) => {
        const bytes = Buffer.from(good);
        for (const [index, bits] of changes) bytes[index] = (bytes[index] ?? 0) ^ bits;
        return bytes;
      })
      // Bits of the last character that the signature does not use.
      .filter((bytes) => !bytes.subarray(0, -1).equals(good.subarray(0, -1)));
    const shaped = fc
      .tuple(fc.json(), fc.json(), fc.base64String())
      .map(([header, claims, signature]) =>
        Buffer.from(`${part(header)}.${part(claims)}.${signature.replaceAll(/[+/=]/g, "")}`),
      );
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 300 }), changed, shaped), async (bytes) => {
        assert.ok(["undefined", "string"].includes(typeof verifier.claimOf(bytes)));
        assert.notEqual((await verifier.verify(bytes, undefined)).kind, "accepted");
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("the server's own tokens", () => {
  it("count as long as the registry has them", async () => {
    using temporary = temporaryDataDirectory();
    mkdirSync(temporary.directory.pki, { recursive: true });
    const tokens = await DeviceTokens.open(temporary.directory.pki);
    const again = await DeviceTokens.open(temporary.directory.pki);
    const issued = await again.issue({ name: "pump", tenant: "default" }, { nowMs, lifeSeconds: 3_600 });
    assert.equal(issued.notAfter, new Date(nowMs + 3_600_000).toISOString());
    const t = verifierOf({}, [tokens.issuer]);
    const outcomeNow = async () => (await t.verifier.verify(Buffer.from(issued.token), undefined)).kind;
    assert.equal(await outcomeNow(), "refused");
    const device = newDevice({ name: "pump", tenant: "default" }, nowMs);
    const known = { jti: issued.jti, notAfter: issued.notAfter };
    t.put({ ...device, tokens: [known] });
    assert.equal(await outcomeNow(), "accepted");
    t.put({ ...device, tokens: [{ ...known, revoked: { at: issued.notAfter, reason: "unspecified" } }] });
    assert.equal(await outcomeNow(), "refused");
    t.put({ ...device, tokens: [{ ...known, notAfter: new Date(nowMs - 31_000).toISOString() }] });
    assert.equal(await outcomeNow(), "refused");
    t.put({ ...device, tenant: "another", tokens: [known] });
    assert.equal(await outcomeNow(), "refused");
    t.put({ ...device, tokens: [known], removed: issued.notAfter });
    assert.equal(await outcomeNow(), "refused");
  });
});
