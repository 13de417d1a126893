import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { issueDevice, issueRoot } from "@postern/pki/issue";

import { run } from "../../src/main.ts";
import { fakeContext } from "../../src/testing.ts";
import { EstTest, csr, held, newKey, withEst, type EstAnswer } from "../support/est.ts";
import { TestClient } from "../support/mqttjs.ts";
import { preloaded, scratch, type Scratch } from "../support/postern.ts";

const dayMs = 86_400_000;

function refused({ status, text }: EstAnswer, expected: number, reason: RegExp): void {
  assert.equal(status, expected, text);
  assert.match(text, reason);
}

describe("attack 75: renewals by those who may not", () => {
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

  async function device(...args: readonly string[]): Promise<void> {
    const context = fakeContext({ cwd: place.path });
    assert.equal(await run(["device", ...args, "--data", est.server.data], context), 0, context.err());
  }

  it("are refused with a certificate that was revoked with its device, and let the device in before", async () => {
    const lamp = await est.enrol("lamp", ["device"]);
    const key = newKey();
    const renewed = held(await est.simpleReenroll(csr({ device: "lamp", key }), lamp), key);
    await using client = await TestClient.connect(est.server.urls[0] ?? "", {
      ca: est.ca,
      cert: renewed.cert,
      key: renewed.key,
    });
    assert.ok(client.client.connected);
    await device("revoke", "lamp");
    for (const revoked of [lamp, renewed]) {
      refused(await est.simpleReenroll(csr({ device: "lamp" }), revoked), 403, /revoked/);
      assert.equal((await est.send({ path: "/postern/device", as: revoked })).status, 403);
    }
    await est.audit(/"kind":"renewal-refused","address":"127\.0\.0\.1","identity":"lamp","detail":"device: /);
    const { status, text } = await est.simpleEnroll(csr({ device: "lamp" }), "lamp:pet_x");
    refused({ status, text, headers: {} }, 401, /no such enrolment token/);
  });

  it("are refused with another device's certificate", async () => {
    const [door, gate] = [await est.enrol("door"), await est.enrol("gate")];
    refused(await est.simpleReenroll(csr({ device: "gate" }), door), 400, /common name is not "door"/);
    refused(
      await est.simpleReenroll(csr({ device: "gate", tenant: "default" }), door),
      400,
      /common name is not "door"/,
    );
    const key = newKey();
    held(await est.simpleReenroll(csr({ device: "gate", tenant: "default", key }), gate), key);
  });

  it("are refused without a certificate, and with one of another authority", async () => {
    refused(await est.simpleReenroll(csr({ device: "door" })), 403, /needs the device's certificate/);
    const validity = { notBeforeMs: Date.now() - dayMs, notAfterMs: Date.now() + dayMs };
    const issuer = await issueRoot({ commonName: "other", validity });
    const forged = await issueDevice({ tenant: "default", device: "door", validity, issuer });
    const as = { cert: forged.certificate, key: forged.key };
    refused(
      await est.simpleReenroll(csr({ device: "door" }), as),
      403,
      /no device of this server has this certificate/,
    );
  });

  it("are refused for the key that the device has, and for a token in the place of a certificate", async () => {
    const key = newKey();
    const { token } = await est.token("pump");
    const pump = held(await est.simpleEnroll(csr({ device: "pump", key }), token), key);
    refused(await est.simpleReenroll(csr({ device: "pump", key }), pump), 400, /make a new key/);
    const fresh = await est.token("pump");
    const path = "/.well-known/est/simplereenroll";
    const answer = await est.send({
      path,
      body: csr({ device: "pump" }),
      type: "application/pkcs10",
      userAndToken: fresh.token,
    });
    refused(answer, 403, /needs the device's certificate/);
    const next = newKey();
    held(await est.simpleReenroll(csr({ device: "pump", key: next }), pump), next);
  });

  it("are refused when the certificate ended too long ago, and granted within the days of grace", async () => {
    using other = scratch();
    const configuration = `${withEst}  certificateDays: 1\n  renewalGraceDays: 10\n`;
    const start = (days: number) =>
      EstTest.start(other.path, configuration, {
        env: preloaded("preload-later.ts", { TEST_LATER_MS: String(days * dayMs) }),
      });
    const siren = await (async () => {
      await using first = await start(0);
      return await first.enrol("siren", ["device"]);
    })();
    {
      await using tooLate = await start(11.1);
      refused(
        await tooLate.simpleReenroll(csr({ device: "siren" }), siren),
        403,
        /too long ago to be renewed/,
      );
    }
    await using late = await start(10.9);
    const [url = ""] = late.server.urls;
    const { cert, key: pem } = siren;
    await assert.rejects(
      TestClient.connect(url, { ca: late.ca, cert, key: pem }),
      /Not authorized/,
      "it lets nobody in",
    );
    const key = newKey();
    const renewed = held(await late.simpleReenroll(csr({ device: "siren", key }), siren), key);
    await using client = await TestClient.connect(url, { ca: late.ca, cert: renewed.cert, key: renewed.key });
    assert.ok(client.client.connected);
  });
});
