import assert from "node:assert/strict";
import { createHash, createHmac, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer as createHttpsServer } from "node:https";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { connectPacket, HandClient } from "@postern/broker/testing/hand-client";
import type { Bundle } from "@postern/core/bundle";
import { encodeAuth } from "@postern/mqtt/control";
import { issueRoot, issueServer } from "@postern/pki/issue";

import { configured } from "../support/configurations.ts";
import {
  addDevice,
  addressOf,
  auditOf,
  codeOf,
  mqttjsCode,
  run,
  tlsAndInsecure,
  tlsOptionsOf,
} from "../support/credentials.ts";
import { scratch, up, type Scratch, type TestServer } from "../support/postern.ts";

const method = "OAUTH2-JWT";
const dayMs = 86_400_000;

const key = generateKeyPairSync("ec", { namedCurve: "P-256" });
const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" });
const published = { keys: [{ ...key.publicKey.export({ format: "jwk" }), kid: "k1" }] };

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const seconds = (): number => Math.floor(Date.now() / 1_000);

const good = () => ({ iss: "https://id.example.org", aud: "mqtt", sub: "pump", exp: seconds() + 600 });

function token(claims: object = {}, header: object = {}, signer = key.privateKey): string {
  const text = `${part({ alg: "ES256", typ: "JWT", kid: "k1", ...header })}.${part({ ...good(), ...claims })}`;
  const signature = sign("sha256", Buffer.from(text), { key: signer, dsaEncoding: "ieee-p1363" });
  return `${text}.${signature.toString("base64url")}`;
}

/** A token within its leeway of 30 s, which is over in two. */
function ending(): string {
  return token({ exp: seconds() - 28 });
}

/** A CONNECT, or an AUTH, with a token as authentication data. */
const withMethod = (text: string) => ({
  properties: { authenticationMethod: method, authenticationData: Buffer.from(text) },
});

describe("attacks 29 to 31: tokens", () => {
  let directory: Scratch;
  let server: TestServer;
  let keysFile = "";
  let pump: Bundle;
  let lamp: Bundle;
  let tls = "";
  let plain = "";
  /** Whoever follows what stands in a token comes here. */
  const canary = createServer();
  let visits = 0;
  let canaryUrl = "";
  const authority = issueRoot({
    commonName: "Test authority",
    validity: { notBeforeMs: Date.now() - dayMs, notAfterMs: Date.now() + dayMs },
  });

  before(async () => {
    directory = scratch();
    canary.on("connection", (socket) => {
      visits += 1;
      socket.destroy();
    });
    canary.listen(0, "127.0.0.1");
    await once(canary, "listening");
    const address = canary.address();
    canaryUrl = `https://127.0.0.1:${typeof address === "object" ? (address?.port ?? 0) : 0}/keys`;
    keysFile = join(directory.path, "keys.json");
    writeFileSync(keysFile, JSON.stringify(published));
    const authentication = `
authentication:
  issuers:
    - issuer: https://id.example.org
      audiences: [mqtt]
      keys: keys.json
      roleClaim: roles
  failures: { failuresPerPairMax: 1000, failuresPerSourceMax: 1000 }
`;
    server = await up(configured(directory.path, tlsAndInsecure + authentication));
    [tls = "", plain = ""] = server.urls;
    pump = await addDevice(server, "pump");
    lamp = await addDevice(server, "lamp");
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    canary.close();
    directory[Symbol.dispose]();
  });

  /** Both ways in: the code of a CONNECT with the token as the password, and of one with it as authentication data. */
  async function codes(text: string): Promise<readonly number[]> {
    return [await codeOf(plain, { password: text }), await codeOf(plain, withMethod(text))];
  }

  describe("attack 29: forged tokens", () => {
    it("are refused both as a password and as authentication data, and nobody visits what they point to", async () => {
      const unsigned = `${part({ alg: "none", typ: "JWT" })}.${part(good())}.`;
      const hs256 = `${part({ alg: "HS256", kid: "k1" })}.${part(good())}`;
      const secret = key.publicKey.export({ type: "spki", format: "pem" });
      const ownJwk = { ...stranger.publicKey.export({ format: "jwk" }), kid: "k1" };
      const twice = `{"iss":"https://id.example.org","aud":"mqtt","sub":"nobody","sub":"pump","exp":${seconds() + 600}}`;
      const twiceText = `${part({ alg: "ES256", kid: "k1" })}.${Buffer.from(twice).toString("base64url")}`;
      const twiceSigned = `${twiceText}.${sign("sha256", Buffer.from(twiceText), { key: key.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
      const forged: readonly (readonly [string, string])[] = [
        ["alg none", unsigned],
        [
          "HS256 under the public key",
          `${hs256}.${createHmac("sha256", secret).update(hs256).digest("base64url")}`,
        ],
        ["another key", token({}, {}, stranger.privateKey)],
        ["an unknown kid", token({}, { kid: "k2" }, stranger.privateKey)],
        ["a path as kid", token({}, { kid: "../../../../../../dev/null" })],
        ["SQL as kid", token({}, { kid: "k1' OR '1'='1" })],
        ["an embedded jwk", token({}, { kid: "x", jwk: ownJwk }, stranger.privateKey)],
        ["a jku", token({}, { kid: "x", jku: canaryUrl }, stranger.privateKey)],
        ["an x5u", token({}, { kid: "x", x5u: canaryUrl }, stranger.privateKey)],
        ["an expired one", token({ exp: seconds() - 60 })],
        ["one without expiry", token({ exp: undefined })],
        ["one that begins later", token({ nbf: seconds() + 600 })],
        ["one from the future", token({ iat: seconds() + 600 })],
        ["another audience", token({ aud: "web" })],
        ["another issuer", token({ iss: "https://evil.example" })],
        ["the server as issuer", token({ iss: "postern", aud: "postern" })],
        ["another subject", token({ sub: "nobody" })],
        ["a claim twice", twiceSigned],
      ];
      for (const [what, text] of forged)
        for (const code of await codes(text)) assert.ok([0x86, 0x87].includes(code), `${what}: ${code}`);
      assert.equal(visits, 0);
    });

    it("of a megabyte are cut off, and what the issuer really signed is accepted", async () => {
      await assert.rejects(codeOf(plain, { password: token({ x: "x".repeat(60_000) }) }));
      assert.deepEqual(await codes(token()), [0, 0]);
      assert.equal(await codeOf(plain, { username: "pump", password: token() }), 0);
      assert.equal(await codeOf(plain, { username: "lamp", password: token() }), 0x86);
      assert.deepEqual(await codes(token({ sub: "alice@example.org", roles: ["observer"] })), [0, 0]);
      assert.equal(await mqttjsCode(tls, { ca: pump.ca, username: "pump", password: token() }), 0);
    });

    it("are not helped by a broken key file: the last good keys stay, and good new ones are taken up", async () => {
      writeFileSync(keysFile, '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}');
      server.process.signal("SIGHUP");
      await server.process.until(/token keys could not be read again/);
      assert.deepEqual(await codes(token()), [0, 0]);
      const next = {
        keys: [...published.keys, { ...stranger.publicKey.export({ format: "jwk" }), kid: "k2" }],
      };
      writeFileSync(keysFile, JSON.stringify(next));
      server.process.signal("SIGHUP");
      const rotated = token({}, { kid: "k2" }, stranger.privateKey);
      for (let round = 0; round < 50 && (await codeOf(plain, { password: rotated })) !== 0; round += 1)
        await new Promise((resolve) => setTimeout(resolve, 50));
      assert.deepEqual(await codes(rotated), [0, 0]);
      writeFileSync(keysFile, JSON.stringify(published));
      server.process.signal("SIGHUP");
    });

    it("are checked with keys from the configured URL only: TLS verified, no redirect followed, fetched once for many", async () => {
      using other = scratch();
      const root = await authority;
      const { certificate: cert, key: serverKey } = await issueServer({
        hosts: ["127.0.0.1"],
        validity: { notBeforeMs: Date.now() - dayMs, notAfterMs: Date.now() + dayMs },
        issuer: root,
      });
      let fetches = 0;
      const keyServer = createHttpsServer({ cert, key: serverKey }, (request, response) => {
        fetches += 1;
        if (request.url === "/redirect") response.writeHead(302, { location: "/keys" }).end();
        else response.end(JSON.stringify(published));
      }).listen(0, "127.0.0.1");
      await once(keyServer, "listening");
      const address = keyServer.address();
      const base = `https://127.0.0.1:${typeof address === "object" ? (address?.port ?? 0) : 0}`;
      writeFileSync(join(other.path, "ca.pem"), root.certificate);
      const issuer = (name: string, path: string, ca: string): string =>
        `    - { issuer: "https://${name}", audiences: [mqtt], keys: "${base}${path}"${ca} }\n`;
      const issuers = [
        issuer("good", "/keys", ", keysCa: ca.pem"),
        issuer("redirected", "/redirect", ", keysCa: ca.pem"),
        issuer("unverified", "/keys", ""),
      ];
      try {
        await using remote = await up(
          configured(other.path, `${tlsAndInsecure}authentication:\n  issuers:\n${issuers.join("")}`),
        );
        const [, url = ""] = remote.urls;
        await addDevice(remote, "pump");
        assert.equal(fetches, 0);
        const code = (iss: string) => codeOf(url, { password: token({ iss }) });
        assert.deepEqual(
          await Promise.all([code("https://good"), code("https://good"), code("https://good")]),
          [0, 0, 0],
        );
        assert.equal(fetches, 1);
        assert.equal(
          await codeOf(url, { password: token({ iss: "https://good" }, { kid: "invented" }) }),
          0x86,
        );
        assert.equal(fetches, 1);
        assert.equal(await code("https://redirected"), 0x88);
        assert.equal(fetches, 2);
        assert.equal(await code("https://unverified"), 0x88);
        assert.equal(fetches, 2);
      } finally {
        keyServer.closeAllConnections();
        keyServer.close();
      }
    });
  });

  describe("attack 30: a token that ended", () => {
    it("ends the connection (0x87), as a password and as authentication data", async () => {
      for (const attemptOf of [() => ({ password: Buffer.from(ending()) }), () => withMethod(ending())]) {
        await using client = new HandClient(addressOf(plain), 5);
        assert.equal(
          (await client.connect(connectPacket(`c${Math.random()}`, 5, attemptOf()))).reasonCode,
          0,
        );
        await client.ping();
        assert.equal((await client.take("disconnect")).reasonCode, 0x87);
      }
      assert.ok(auditOf(server).some(({ kind, identity }) => kind === "proof-ended" && identity === "pump"));
    });

    it("does not end it when the client has authenticated again, as itself", async () => {
      await using client = new HandClient(addressOf(plain), 5);
      assert.equal((await client.connect(connectPacket("again", 5, withMethod(ending())))).reasonCode, 0);
      client.send(encodeAuth(5, { reasonCode: 0x19, ...withMethod(token()) }));
      assert.equal((await client.take("auth")).reasonCode, 0);
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      await client.ping();
      client.send(encodeAuth(5, { reasonCode: 0x19, ...withMethod(token({ sub: "lamp" })) }));
      assert.equal((await client.take("disconnect")).reasonCode, 0x87);
    });

    it("does end it when what the client presents then is forged", async () => {
      await using client = new HandClient(addressOf(plain), 5);
      assert.equal((await client.connect(connectPacket("forger", 5, withMethod(token())))).reasonCode, 0);
      client.send(encodeAuth(5, { reasonCode: 0x19, ...withMethod(token({}, {}, stranger.privateKey)) }));
      assert.equal((await client.take("disconnect")).reasonCode, 0x87);
    });

    it("is worth nothing once it was revoked: the connection is closed, and no other opened", async () => {
      const { token: own = "" } = await addDevice(server, "meter", "--auth", "token");
      const [, claims = ""] = own.split(".");
      const { jti } = JSON.parse(Buffer.from(claims, "base64url").toString());
      await using client = new HandClient(addressOf(plain), 5);
      const packet = connectPacket("m", 5, { username: "meter", password: Buffer.from(own) });
      assert.equal((await client.connect(packet)).reasonCode, 0);
      assert.deepEqual(await codes(own), [0, 0]);
      await run("device", "revoke", "meter", "--token", String(jti), "--data", server.data);
      assert.ok([0x87, 0x98].includes((await client.take("disconnect")).reasonCode));
      assert.deepEqual(await codes(own), [0x86, 0x86]);
    });
  });

  describe("attack 31: a token that is bound to a certificate", () => {
    it("counts beside that certificate, and beside no other and none", async () => {
      const thumbprint = createHash("sha256")
        .update(new X509Certificate(pump.certificate ?? "").raw)
        .digest("base64url");
      const bound = token({ cnf: { "x5t#S256": thumbprint } });
      const boundForLamp = token({ sub: "lamp", cnf: { "x5t#S256": thumbprint } });
      assert.equal(await mqttjsCode(tls, { ...tlsOptionsOf(pump), username: "pump", password: bound }), 0);
      assert.equal(await mqttjsCode(tls, { ...tlsOptionsOf(lamp), username: "pump", password: bound }), 0x86);
      assert.equal(await mqttjsCode(tls, { ...tlsOptionsOf(lamp), password: bound, username: "" }), 0x86);
      assert.equal(
        await mqttjsCode(tls, { ...tlsOptionsOf(lamp), username: "lamp", password: boundForLamp }),
        0x86,
      );
      assert.equal(await mqttjsCode(tls, { ca: pump.ca, username: "pump", password: bound }), 0x86);
      assert.equal(await codeOf(plain, { username: "pump", password: bound }), 0x86);
    });
  });
});
