import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import type { KeyPair } from "@postern/pki/issue";
import { certificateOf } from "@postern/pki/testing";

import { audited } from "../support/audit.ts";
import { configured } from "../support/configurations.ts";
import { dataBeside, prepareInstallation } from "../support/installation.ts";
import { Plant, attempt, withAnchor } from "../support/plant.ts";
import { skipWithout } from "../support/programs.ts";
import { firstBundle, freePort, scratch, up, type TestServer } from "../support/postern.ts";

/** Longer than two times `refreshSeconds: 1`, and than it is looked at live connections. */
const patienceMs = 8_000;

async function connected(server: TestServer, plant: Plant, pair: KeyPair) {
  const { ca } = firstBundle(server.data);
  return Promise.all(
    server.urls.map(async (url) => {
      const { client, code } = await attempt(url, { ca, ...plant.credentials(pair) });
      assert.equal(code, 0, url);
      return client;
    }),
  );
}

/** Revokes, and sees that live sessions end and new ones are refused, on TCP and WebSocket. */
async function bites(server: TestServer, plant: Plant, pair: KeyPair, revoke: () => void): Promise<void> {
  const clients = await connected(server, plant, pair);
  const ended = clients.map(
    (client) =>
      new Promise<void>((resolve, reject) => {
        client.once("close", () => resolve());
        setTimeout(() => reject(new Error("a session of a revoked certificate goes on")), patienceMs).unref();
      }),
  );
  revoke();
  await Promise.all(ended);
  const { ca } = firstBundle(server.data);
  for (const url of server.urls) {
    const { code } = await attempt(url, { ca, ...plant.credentials(pair) });
    assert.equal(code, 0x87, url);
  }
  const event = await audited(server.data, ({ kind }) => kind === "certificate-withdrawn");
  assert.match(String(event["detail"]), /was revoked at .*keyCompromise/);
}

describe("attack 06: a certificate that its own authority revoked", () => {
  it("is refused by a CRL, and its live sessions end, within seconds", async () => {
    using place = scratch();
    const plant = await Plant.make(place.path);
    const press = await plant.device("press");
    const lathe = await plant.device("lathe");
    plant.write("plant.crl", plant.crl([]));
    await prepareInstallation(dataBeside(place.path), [
      { name: "press", tenant: "plant" },
      { name: "lathe", tenant: "plant" },
    ]);
    const config = withAnchor("crls: [root.crl, plant.crl], refreshSeconds: 1");
    await using server = await up(configured(place.path, config));
    const [honest] = await connected(server, plant, lathe);
    await bites(server, plant, press, () => plant.write("plant.crl", plant.crl([press])));
    // Whoever was not revoked stays.
    assert.equal(honest?.connected, true);
    honest?.end(true);
  });

  it("is refused by OCSP of openssl's responder", { skip: skipWithout("openssl") }, async () => {
    using place = scratch();
    const plant = await Plant.make(place.path);
    const press = await plant.device("press");
    const port = await freePort();
    const index = join(place.path, "index.txt");
    const { serialNumber } = certificateOf(press.certificate);
    writeFileSync(index, `V\t301231235959Z\t\t${serialNumber}\tunknown\t/CN=press\n`);
    const responder = spawn(
      "openssl",
      [
        ["ocsp", "-port", String(port), "-index", index, "-nmin", "5"],
        ["-CA", plant.write("issuing.pem", plant.issuing.certificate)],
        ["-rsigner", plant.write("responder.pem", plant.responder.certificate + plant.responder.key)],
      ].flat(),
      { stdio: "ignore" },
    );
    try {
      await prepareInstallation(dataBeside(place.path), [{ name: "press", tenant: "plant" }]);
      const config = withAnchor(
        `crls: [root.crl], ocsp: "http://127.0.0.1:${port}", nonce: require, refreshSeconds: 1`,
      );
      await using server = await up(configured(place.path, config));
      await bites(server, plant, press, () =>
        writeFileSync(
          index,
          `R\t301231235959Z\t261125000000Z,keyCompromise\t${serialNumber}\tunknown\t/CN=press\n`,
        ),
      );
    } finally {
      responder.kill();
      if (responder.exitCode === null && responder.signalCode === null) await once(responder, "close");
      await delay(0);
    }
  });
});
