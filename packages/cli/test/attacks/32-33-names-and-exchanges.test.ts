import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { after, before, describe, it } from "node:test";

import { connectPacket, HandClient } from "@postern/broker/testing/hand-client";
import { publishPacket } from "@postern/broker/testing/packets";
import type { Bundle } from "@postern/core/bundle";
import { encodeConnect } from "@postern/mqtt/connect";
import { encodeAuth, pingreqBytes } from "@postern/mqtt/control";

import { configured } from "../support/configurations.ts";
import { addDevice, addressOf, codeOf, tlsAndInsecure } from "../support/credentials.ts";
import { scratch, up, type Scratch, type TestServer } from "../support/postern.ts";

const method = "SCRAM-SHA-256";

function auth(reasonCode: number, data: string, authenticationMethod = method): Uint8Array {
  return encodeAuth(5, {
    reasonCode,
    properties: { authenticationMethod, authenticationData: Buffer.from(data) },
  });
}

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** The client's last message, and what the server must sign it with. @see RFC 5802 §3 */
function scramFinal(name: string, password: string, serverFirst: string) {
  const [, nonce = "", salt = "", rounds = ""] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst) ?? [];
  const salted = pbkdf2Sync(password, Buffer.from(salt, "base64"), Number(rounds), 32, "sha256");
  const clientKey = hmac(salted, "Client Key");
  const withoutProof = `c=biws,r=${nonce}`;
  const message = `n=${name},r=abcdefgh,${serverFirst},${withoutProof}`;
  const signature = hmac(createHash("sha256").update(clientKey).digest(), message);
  const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)));
  return {
    final: `${withoutProof},p=${proof.toString("base64")}`,
    signature: `v=${hmac(hmac(salted, "Server Key"), message).toString("base64")}`,
  };
}

/** A client whose CONNECT named the method, after `r=…,s=…,i=…` has come. */
async function asked(url: string, name = "pump") {
  const client = new HandClient(addressOf(url), 5);
  const properties = {
    authenticationMethod: method,
    authenticationData: Buffer.from(`n,,n=${name},r=abcdefgh`),
  };
  client.send(encodeConnect(connectPacket(`c${Math.random()}`, 5, { properties })));
  const answer = await client.take("auth");
  assert.equal(answer.reasonCode, 0x18);
  return { client, serverFirst: Buffer.from(answer.properties.authenticationData ?? []).toString() };
}

async function ended(client: HandClient): Promise<void> {
  await client.wire.closed;
  assert.ok(client.received.every((packet) => packet.kind !== "connack" || packet.reasonCode >= 0x80));
}

describe("attacks 32 and 33: names that mean more than they say, and exchanges out of order", () => {
  let directory: Scratch;
  let server: TestServer;
  let pump: Bundle;
  let plain = "";

  before(async () => {
    directory = scratch();
    const more = `limits: { connectTimeoutSeconds: 2 }\nauthentication: { failures: { failuresPerSourceMax: 1000 } }\n`;
    server = await up(configured(directory.path, tlsAndInsecure + more));
    [, plain = ""] = server.urls;
    pump = await addDevice(server, "pump", "--auth", "password");
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    directory[Symbol.dispose]();
  });

  describe("attack 32: names with wildcards, control characters and look-alikes", () => {
    it("are nobody's as user names, also with the right password (CVE-2017-7650)", async () => {
      const { password } = pump;
      // The Cyrillic small er, a full-width p, a combining mark, an invisible space: all look like the device.
      for (const username of [
        "#",
        "+",
        "/",
        "$SYS",
        "pump/#",
        "pum+",
        "PUMP",
        " pump",
        "pump ",
        "\u0440ump",
        "\uff50ump",
        "pump\u0301",
        "pump\u200b",
        "__proto__",
        "\uffff",
      ])
        assert.equal(await codeOf(plain, { username, password }), 0x86, JSON.stringify(username));
      assert.equal(await codeOf(plain, { username: "pump", password }), 0);
    });

    it("with a NUL, in broken UTF-8 or of 65,535 bytes end the connection", async () => {
      const packet = encodeConnect(connectPacket("c", 5, { username: "pumpX", password: Buffer.from("x") }));
      const at = packet.indexOf("pumpX") + 4;
      for (const byte of [0x00, 0xff, 0xc0]) {
        await using client = new HandClient(addressOf(plain), 5);
        const broken = Buffer.from(packet);
        broken[at] = byte;
        client.send(broken);
        await client.wire.closed;
        assert.ok(
          client.received.every((received) => received.kind !== "connack" || received.reasonCode >= 0x80),
        );
      }
      await assert.rejects(codeOf(plain, { username: "u".repeat(65_535), password: "x" }));
    });

    it("are what they are as client ids, and open nobody else's session", async () => {
      const who = { username: "pump", password: Buffer.from(pump.password ?? "") };
      await using honest = await HandClient.connected(addressOf(plain), connectPacket("honest", 5, who));
      for (const clientId of ["#", "+", "hon+", "$SYS", "honest/#", "HONEST", "h\u043enest"]) {
        await using other = await HandClient.connected(addressOf(plain), connectPacket(clientId, 5, who));
        await other.ping();
      }
      await honest.ping();
    });
  });

  describe("attack 33: exchanges out of order", () => {
    it("are none when the client does it right: the server proves itself, too, and again later", async () => {
      const { client, serverFirst } = await asked(plain);
      await using held = client;
      const { final, signature } = scramFinal("pump", pump.password ?? "", serverFirst);
      held.send(auth(0x18, final));
      const connack = await held.take("connack");
      assert.equal(connack.reasonCode, 0);
      assert.equal(Buffer.from(connack.properties.authenticationData ?? []).toString(), signature);
      held.send(auth(0x19, "n,,n=pump,r=abcdefgh"));
      const again = Buffer.from((await held.take("auth")).properties.authenticationData ?? []).toString();
      held.send(auth(0x18, scramFinal("pump", pump.password ?? "", again).final));
      assert.equal((await held.take("auth")).reasonCode, 0);
      await held.ping();
    });

    it("end when AUTH comes before CONNECT", async () => {
      await using client = new HandClient(addressOf(plain), 5);
      client.send(auth(0x18, "n,,n=pump,r=abcdefgh"));
      await ended(client);
    });

    it("end when the method changes in the middle, or another CONNECT, a PUBLISH or a PINGREQ comes", async () => {
      const connect = encodeConnect(connectPacket("second", 5));
      for (const packet of [
        auth(0x18, "x", "OAUTH2-JWT"),
        auth(0x18, "x", ""),
        auth(0x19, "n,,n=pump,r=abcdefgh"),
        auth(0x00, ""),
        connect,
        publishPacket(5, { topic: "t", payload: "x" }),
        pingreqBytes,
      ]) {
        const { client } = await asked(plain);
        await using held = client;
        held.send(packet);
        await ended(held);
      }
    });

    it("end at the last step for a wrong proof and for a name that nobody has, alike", async () => {
      for (const [name, password] of [
        ["pump", "wrong"],
        ["nobody", pump.password ?? ""],
      ] as const) {
        const { client, serverFirst } = await asked(plain, name);
        await using held = client;
        assert.match(serverFirst, /^r=abcdefgh[^,]{24},s=[A-Za-z0-9+/]{22}==,i=15000$/);
        held.send(auth(0x18, scramFinal(name, password, serverFirst).final));
        assert.equal((await held.take("connack")).reasonCode, 0x86);
      }
    });

    it("end for those who go on and on, and for those who fall silent", async () => {
      const { client, serverFirst } = await asked(plain);
      await using held = client;
      held.send(...Array.from({ length: 50 }, () => auth(0x18, serverFirst)));
      await ended(held);
      const { client: silent } = await asked(plain);
      await using waiting = silent;
      const beganMs = performance.now();
      await ended(waiting);
      assert.ok(performance.now() - beganMs < 6_000);
    });

    it("end for those who do nothing but authenticate again, and for those who named no method", async () => {
      const { client, serverFirst } = await asked(plain);
      await using held = client;
      held.send(auth(0x18, scramFinal("pump", pump.password ?? "", serverFirst).final));
      assert.equal((await held.take("connack")).reasonCode, 0);
      held.send(...Array.from({ length: 20 }, () => auth(0x19, "n,,n=pump,r=abcdefgh")));
      assert.equal((await held.take("disconnect")).reasonCode, 0x96);
      const who = { username: "pump", password: Buffer.from(pump.password ?? "") };
      await using other = await HandClient.connected(addressOf(plain), connectPacket("other", 5, who));
      other.send(auth(0x19, "n,,n=pump,r=abcdefgh"));
      assert.equal((await other.take("disconnect")).reasonCode, 0x82);
    });

    it("are not begun with a method that nobody knows (0x8C)", async () => {
      for (const name of ["SCRAM-SHA-1", "PLAIN", "x".repeat(1_000)])
        assert.equal(await codeOf(plain, { properties: { authenticationMethod: name } }), 0x8c);
    });
  });
});
