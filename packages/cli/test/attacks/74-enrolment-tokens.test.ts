import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { claimFile } from "../../src/admin/enrolment-protocol.ts";
import { run } from "../../src/main.ts";
import { fakeContext } from "../../src/testing.ts";
import { EstTest, csr, held, newKey } from "../support/est.ts";
import { TestClient } from "../support/mqttjs.ts";
import { command, scratch, type Scratch } from "../support/postern.ts";

describe("attack 74: enrolment tokens and claims used again, too late, or for something else", () => {
  let place: Scratch;
  let est: EstTest;

  before(async () => {
    place = scratch();
    est = await EstTest.start(place.path);
  });
  after(async () => {
    await est[Symbol.asyncDispose]();
    place[Symbol.dispose]();
  });

  /** Waits where it is told to, because others failed before it. */
  async function refused(device: string, token: string, reason: RegExp): Promise<void> {
    let answer = await est.simpleEnroll(csr({ device }), token);
    for (let round = 0; round < 50 && answer.status === 429; round += 1) {
      await delay(100);
      answer = await est.simpleEnroll(csr({ device }), token);
    }
    const { status, headers, text } = answer;
    assert.equal(status, 401, text);
    assert.match(String(headers["www-authenticate"]), /^Basic /);
    assert.match(text, reason);
  }

  it("are refused when used again, also by ten at the same time, and let the first one in", async () => {
    const { token } = await est.token("lamp", { roles: ["device"] });
    const keys = Array.from({ length: 10 }, newKey);
    const answers = await Promise.all(
      keys.map((key) => est.simpleEnroll(csr({ device: "lamp", key }), token)),
    );
    const winners = answers.flatMap((answer, index) => (answer.status === 200 ? [index] : []));
    assert.equal(winners.length, 1);
    const [winner = 0] = winners;
    const [answer, key] = [answers[winner], keys[winner]];
    assert.ok(answer !== undefined && key !== undefined);
    const { cert, key: pem } = held(answer, key);
    await using client = await TestClient.connect(est.server.urls[0] ?? "", { ca: est.ca, cert, key: pem });
    assert.ok(client.client.connected);
    await refused("lamp", token, /was used at/);
  });

  it("are refused when used again after the server was killed right after it answered", async () => {
    using other = scratch();
    let token: string;
    {
      await using first = await EstTest.start(other.path);
      ({ token } = await first.token("lamp"));
      assert.equal((await first.simpleEnroll(csr({ device: "lamp" }), token)).status, 200);
      first.server.process.signal("SIGKILL");
    }
    await using again = await EstTest.start(other.path);
    assert.equal((await again.simpleEnroll(csr({ device: "lamp" }), token)).status, 401);
  });

  it("are refused when they ran out, or were cancelled", async () => {
    const short = await est.token("door", { lifeMs: 1_000 });
    const cancelled = await est.token("gate");
    const listed = await command(["device", "enrolments", "--data", est.server.data]);
    assert.match(listed.stdout, new RegExp(`^${cancelled.id}  gate +open until `, "m"));
    const { code } = await command(["device", "enrolments", "cancel", "gate", "--data", est.server.data]);
    assert.equal(code, 0);
    await refused("gate", cancelled.token, /was cancelled/);
    await delay(Math.max(Date.parse(short.expires) - Date.now(), 0) + 5);
    await refused("door", short.token, /ran out/);
    const fresh = await est.token("door");
    assert.equal((await est.simpleEnroll(csr({ device: "door" }), fresh.token)).status, 200);
  });

  it("are refused for another device, by its name or in the request", async () => {
    const { token } = await est.token("pump");
    const secret = token.slice("pump:".length);
    await refused("valve", `valve:${secret}`, /another device's/);
    const named = await est.simpleEnroll(csr({ device: "valve" }), token);
    assert.equal(named.status, 400);
    assert.match(named.text, /its common name is not "pump"/);
    assert.equal((await est.simpleEnroll(csr({ device: "pump" }), token)).status, 200);
  });

  it("cannot be guessed: after five tries whoever fails has to wait, and the right token is good afterwards", async () => {
    using other = scratch();
    await using target = await EstTest.start(other.path);
    const { token } = await target.token("lamp");
    const guess = `lamp:pet_${"A".repeat(32)}`;
    for (let count = 0; count < 5; count += 1)
      assert.equal((await target.simpleEnroll(csr({ device: "lamp" }), guess)).status, 401);
    const { status, headers } = await target.simpleEnroll(csr({ device: "lamp" }), token);
    assert.equal(status, 429);
    assert.equal(headers["retry-after"], "30");
    await target.audit(
      /"kind":"enrolment-refused","address":"127\.0\.0\.1","identity":"lamp","detail":"rate: /,
    );
    await delay(1_100);
    assert.equal((await target.simpleEnroll(csr({ device: "lamp" }), token)).status, 200);
  });

  it("let nobody into the broker by themselves", async () => {
    const { token } = await est.token("siren");
    const [url = ""] = est.server.urls;
    const [username = "", password = ""] = token.split(":");
    await assert.rejects(
      TestClient.connect(url, { ca: est.ca, username, password }),
      /Bad User Name or Password/,
    );
  });

  it("are not made where they cannot be written, and take no other secret's place", async () => {
    const at = ["--data", est.server.data];
    const claim = ["device", "claim", "line-z", "--prefix", "z-", "--devices", "1"];
    const nowhere = join(place.path, "missing", "line.claim");
    const taken = join(place.path, "taken");
    writeFileSync(taken, "another secret");
    for (const made of [claim, ["device", "enrol", "kettle"]]) {
      const lost = await command([...made, "--out", nowhere, ...at]);
      assert.equal(lost.code, 2);
      assert.match(lost.stderr, /cannot write the (claim|token) .*: there is no such directory/);
      const over = await command([...made, "--out", taken, ...at]);
      assert.equal(over.code, 2);
      assert.match(over.stderr, /taken is there already: name another file with --out/);
    }
    assert.equal(readFileSync(taken, "utf8"), "another secret");
    assert.doesNotMatch((await command(["device", "claims", ...at])).stdout, /line-z/);
    assert.doesNotMatch((await command(["device", "enrolments", ...at])).stdout, /kettle/);
  });

  it("let nobody in as a claim's certificate: it makes new devices of its prefix, and nothing else", async () => {
    const command = async (...args: readonly string[]) => {
      const context = fakeContext({ cwd: place.path });
      return { code: await run([...args], context), out: context.out(), err: context.err() };
    };
    const at = ["--data", est.server.data];
    const wanted = ["--prefix", "press-", "--devices", "2", "--role", "device", "--out", "line.claim"];
    assert.equal((await command("device", "claim", "line", ...wanted, ...at)).code, 0);
    const claim = claimFile.parse(JSON.parse(readFileSync(join(place.path, "line.claim"), "utf8")));
    const as = { cert: claim.certificate, key: claim.key };
    const [url = ""] = est.server.urls;

    await assert.rejects(TestClient.connect(url, { ca: est.ca, ...as }), /Not authorized/, "no MQTT");
    assert.equal((await est.simpleReenroll(csr({ device: "press-1" }), as)).status, 403, "no renewal");
    assert.equal((await est.send({ path: "/postern/device", as })).status, 403, "no secrets of devices");
    await est.enrol("press-old");
    const path = "/.well-known/est/simpleenroll";
    const ask = (device: string) => est.send({ path, body: csr({ device }), type: "application/pkcs10", as });
    for (const [device, sentence] of [
      ["first-device", /begin with "press-"/],
      ["press-old", /there is a device "press-old" already/],
    ] as const) {
      const { status, text } = await ask(device);
      assert.equal(status, 403);
      assert.match(text, sentence);
    }

    const enrol = ["enrol", "--claim", "line.claim", "--bundle"];
    assert.equal((await command(...enrol, "1.json", "--device", "press-1")).code, 0, "the honest use");
    assert.equal((await command("pub", "--bundle", "1.json", "devices/press-1/state", "on")).code, 0);
    assert.equal((await ask("press-2")).status, 200);
    assert.match((await ask("press-3")).text, /has made all of its 2 devices/);
    assert.match(
      (await command("device", "claims", ...at)).out,
      /^line {2}2 of 2 devices "press-…", exhausted/,
    );
    assert.equal((await command("device", "claims", "revoke", "line", ...at)).code, 0);
    assert.match((await ask("press-4")).text, /was revoked at/);
    await est.audit(
      /"kind":"enrolment-refused","address":"127\.0\.0\.1","identity":"line","detail":"claim: .*revoked/,
    );
  });
});
