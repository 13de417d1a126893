import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { issueDevice, issueRoot, issueServer, type KeyPair } from "@postern/pki/issue";

import { audited } from "../support/audit.ts";
import { configured } from "../support/configurations.ts";
import { dataBeside, prepareInstallation } from "../support/installation.ts";
import { Plant, attempt, days, withAnchor } from "../support/plant.ts";
import { firstBundle, scratch, up, type Scratch, type TestServer } from "../support/postern.ts";

const notAuthorized = 0x87;

describe("attack 05: client certificates that are not good", () => {
  let place: Scratch;
  let plant: Plant;
  let server: TestServer;
  let ca: string;

  before(async () => {
    place = scratch();
    plant = await Plant.make(place.path);
    await prepareInstallation(dataBeside(place.path), [{ name: "press", tenant: "plant" }]);
    server = await up(configured(place.path, withAnchor("revocation: off")));
    ({ ca } = firstBundle(server.data));
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    place[Symbol.dispose]();
  });

  function pki(name: string): string {
    return readFileSync(join(server.data, "pki", name), "utf8");
  }

  /** Refused on TCP and on WebSocket, with the reason in the audit log. */
  async function refused(credentials: { cert?: string; key?: string }, reason: RegExp): Promise<void> {
    for (const url of server.urls) {
      const clientId = `x${Math.random().toString(36).slice(2)}`;
      const { code } = await attempt(url, { ca, clientId, ...credentials });
      assert.equal(code, notAuthorized, `${url} ${String(reason)}`);
      const event = await audited(server.data, (line) => line["clientId"] === clientId);
      assert.equal(event["kind"], "connect-refused");
      assert.match(String(event["detail"]), reason);
    }
  }

  async function refusedPlant(pair: KeyPair, reason: RegExp): Promise<void> {
    await refused(plant.credentials(pair), reason);
  }

  it("are refused, and those that are good are let in, on TCP and on WebSocket", async () => {
    const own = firstBundle(server.data);
    const press = await plant.device("press");
    for (const url of server.urls) {
      for (const credentials of [
        { cert: own.certificate ?? "", key: own.key ?? "" },
        plant.credentials(press),
      ]) {
        const { client, code } = await attempt(url, { ca, ...credentials });
        assert.equal(code, 0, url);
        await client.endAsync();
      }
    }
    await refused({}, /nothing that proves|no client certificate/);
  });

  it("are refused when they sign themselves, or another authority issued them", async () => {
    const alone = await issueRoot({ commonName: "press", validity: days(-1, 1) });
    await refused({ cert: alone.certificate, key: alone.key }, /not issued by|authority's/);
    const stranger = await issueRoot({ commonName: "Plant", validity: days(-1, 1) });
    await refusedPlant(await plant.device("press", { issuer: stranger }), /not issued by/);
    // The same name as the first device's, and of our own authority's name, but of another authority.
    const fake = await issueRoot({ commonName: "Postern issuing", validity: days(-1, 1) });
    const alike = await issueDevice({
      tenant: "default",
      device: "first-device",
      validity: days(-1, 1),
      issuer: fake,
    });
    await refused({ cert: alike.certificate + pki("issuing.crt"), key: alike.key }, /not issued by/);
  });

  it("are refused when their time is over or has not come", async () => {
    await refusedPlant(await plant.device("press", { validity: days(-2, -1) }), /expired/);
    await refusedPlant(await plant.device("press", { validity: days(1, 2) }), /valid only from/);
  });

  it("are refused when they are for servers, or an authority's", async () => {
    const forServers = await issueServer({ hosts: ["press"], validity: days(-1, 1), issuer: plant.issuing });
    await refusedPlant(forServers, /extended key usage/);
    await refused({ cert: plant.issuing.certificate, key: plant.issuing.key }, /a certificate authority's/);
    await refused({ cert: plant.root.certificate, key: plant.root.key }, /a certificate authority's/);
  });

  it("are refused when they name a device of another tenant, or one that has a certificate of our own", async () => {
    await refusedPlant(await plant.device("first-device", { tenant: "default" }), /of the tenant "plant"/);
    await refusedPlant(await plant.device("first-device"), /no device "first-device" of the tenant "plant"/);
    await refusedPlant(await plant.device("nobody"), /no device "nobody"/);
  });

  it("are refused when our own authority signed them, and the registry does not know them", async () => {
    const issuer = { certificate: pki("issuing.crt"), key: pki("issuing.key") };
    const unknown = await issueDevice({
      tenant: "default",
      device: "first-device",
      validity: days(-1, 1),
      issuer,
    });
    await refused(
      { cert: unknown.certificate + issuer.certificate, key: unknown.key },
      /not issued by an authority that is trusted|no device/,
    );
  });
});
