import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Bundle } from "@postern/core/bundle";
import { HandClient, connectPacket } from "@postern/broker/testing/hand-client";

import { configured } from "../support/configurations.ts";
import {
  addDevice,
  addressOf,
  auditOf,
  codeOf,
  connectOnce,
  mqttjsCode,
  run,
  tlsAndInsecure,
  tlsCode,
  tlsOptionsOf,
} from "../support/credentials.ts";
import { freePort, scratch, up, type Scratch, type TestServer } from "../support/postern.ts";

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

describe("attacks 27 and 28: no password, and too many", () => {
  let directory: Scratch;
  let server: TestServer;
  let pump: Bundle;
  let lamp: Bundle;
  let tls = "";
  let plain = "";

  before(async () => {
    directory = scratch();
    server = await up(configured(directory.path, tlsAndInsecure));
    [tls = "", plain = ""] = server.urls;
    pump = await addDevice(server, "pump", "--auth", "password");
    lamp = await addDevice(server, "lamp");
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    directory[Symbol.dispose]();
  });

  describe("attack 27: anonymous, an empty user name, an empty password, and nobody to ask", () => {
    it("is refused, in MQTT 3.1.1 and 5, over TLS and in plain text", async () => {
      const { password } = pump;
      for (const attempt of [
        {},
        { username: "", password: "" },
        { username: "" },
        { username: "pump" },
        { username: "pump", password: "" },
        { password },
        { username: "", password },
      ]) {
        assert.ok([0x86, 0x87].includes(await codeOf(plain, attempt)), JSON.stringify(attempt));
        if (attempt.username !== undefined || attempt.password === undefined)
          assert.ok([0x86, 0x87].includes(await codeOf(plain, { ...attempt, version: 4 })));
      }
      for (const options of [{}, { username: "", password: "" }, { username: "pump" }])
        assert.ok([0x86, 0x87].includes(await mqttjsCode(tls, { ca: pump.ca, ...options })));
    });

    it("is refused (0x88) when the user store does not answer, while devices go on", async () => {
      using other = scratch();
      const hook = `authentication: { hook: { url: "http://127.0.0.1:${await freePort()}/", timeoutSeconds: 1 } }\n`;
      await using guarded = await up(configured(other.path, tlsAndInsecure + hook));
      const { password } = await addDevice(guarded, "pump", "--auth", "password");
      const [, url = ""] = guarded.urls;
      assert.equal(await codeOf(url, { username: "alice", password: "hers" }), 0x88);
      assert.equal(await codeOf(url, { username: "pump", password: "guess" }), 0x86);
      assert.equal(await codeOf(url, { username: "pump", password }), 0);
    });

    it("is not how a device comes: its password lets it in, and so does a certificate", async () => {
      const { ca, password = "" } = pump;
      for (const protocolVersion of [4, 5] as const)
        assert.equal(await mqttjsCode(tls, { ca, username: "pump", password, protocolVersion }), 0);
      assert.equal(await mqttjsCode(tls, tlsOptionsOf(lamp)), 0);
    });
  });

  describe("attack 28: guessing passwords", () => {
    it("is answered alike, and in the same time, for a name that nobody has and for a wrong password", async () => {
      const times = { pump: [0], nobody: [0] };
      for (let round = 0; round < 7; round += 1)
        for (const username of ["pump", "nobody"] as const) {
          const beganMs = performance.now();
          const { reasonCode, properties } = await connectOnce(plain, {
            username,
            password: "wrong",
            from: `127.0.1.${round + 1}`,
          });
          assert.equal(reasonCode, 0x86);
          assert.equal(properties.reasonString, undefined);
          times[username].push(performance.now() - beganMs);
        }
      const ratio = median(times.nobody) / median(times.pump);
      assert.ok(ratio > 0.4 && ratio < 2.5, JSON.stringify(times));
    });

    it("costs a growing wait, and locks out neither the device elsewhere nor other proofs", async () => {
      const from = "127.0.2.1";
      const { password } = pump;
      for (let index = 0; index < 5; index += 1)
        assert.equal(await codeOf(plain, { username: "pump", password: `guess-${index}`, from }), 0x86);
      assert.equal(await codeOf(plain, { username: "pump", password: "guess", from }), 0x9f);
      assert.equal(await codeOf(plain, { username: "pump", password, from }), 0x9f);
      assert.equal(await codeOf(plain, { username: "pump", password, from, version: 4 }), 0x88);
      assert.equal(await codeOf(plain, { username: "pump", password, from: "127.0.2.2" }), 0);
      const beganMs = performance.now();
      assert.equal(await tlsCode(tls, lamp, from), 0);
      assert.ok(performance.now() - beganMs < 2_000);
      const events = auditOf(server);
      assert.ok(events.some(({ kind, address }) => kind === "backed-off" && address === from));
      assert.ok(
        events.some(({ detail }) => detail.includes('the password of "pump" is refused: wrong password')),
      );
      const status = await run("status", "--data", server.data);
      assert.match(status, /failures +\d+ by password/);
      assert.match(status, /127\.0\.2\.1: 5/);
    });

    it("by a flood of attempts at once leaves the server answering, and the guesses unseen", async () => {
      await using honest = new HandClient(addressOf(plain), 5);
      const connack = await honest.connect(
        connectPacket("honest", 5, { username: "pump", password: Buffer.from(pump.password ?? "") }),
      );
      assert.equal(connack.reasonCode, 0);
      const flood = Array.from({ length: 200 }, (_, index) =>
        codeOf(plain, { username: `guess-${index % 40}`, password: `x-${index}`, from: "127.0.3.1" }),
      );
      const pings: number[] = [];
      const over = Promise.all(flood);
      for (let round = 0; round < 5; round += 1) {
        const beganMs = performance.now();
        await honest.ping();
        pings.push(performance.now() - beganMs);
      }
      const codes = await over;
      const counted = (code: number): number => codes.filter((found) => found === code).length;
      assert.equal(counted(0), 0);
      assert.ok(counted(0x9f) + counted(0x89) > 100, codes.join());
      assert.ok(Math.max(...pings) < 2_000, pings.join());
    });
  });
});
