import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";

import type { KeyPair } from "@postern/pki/issue";

import { audited } from "./support/audit.ts";
import { configured } from "./support/configurations.ts";
import { dataBeside, prepareInstallation } from "./support/installation.ts";
import { Plant, attempt, withAnchor } from "./support/plant.ts";
import { firstBundle, command, postern, scratch, up, type TestServer } from "./support/postern.ts";
import { connectMqtt, portOf } from "./support/raw.ts";

const press = [{ name: "press", tenant: "plant" }];

describe("trust anchors", () => {
  it("that cannot be used are named before anything starts", async () => {
    using place = scratch();
    const plant = await Plant.make(place.path);
    const leaf = await plant.device("press");
    const start = async (content: string | undefined) => {
      if (content !== undefined) plant.write("plant-ca.pem", content);
      const { code, stderr } = await postern([
        "up",
        ...configured(place.path, withAnchor("revocation: off")),
      ]);
      assert.equal(code, 2, stderr);
      return stderr;
    };
    assert.match(
      await start(leaf.certificate),
      /plant-ca\.pem cannot be used as a trust anchor.*not an authority's/,
    );
    assert.match(await start("no certificate"), /holds no certificate in PEM/);
    const check = async (anchor: string) => {
      const [, file = ""] = configured(place.path, withAnchor(anchor));
      const { code, stdout, stderr } = await command(["config", "check", file]);
      return `${code} ${stdout}${stderr}`;
    };
    assert.match(await check("revocation: off, crls: [x.crl]"), /^2 .*revocation is off/);
    assert.match(await check('crls: ["ftp://x/y.crl"]'), /^2 .*http/);
    assert.match(await check('ocsp: "http://user:secret@x/"'), /^2 .*without user name/);
    assert.match(await check("crls: [x.crl]"), /^0 /);
  });

  it("are read again when their file changes: the new ones let in, the old ones no more, a broken file changes nothing", async () => {
    using place = scratch();
    const plant = await Plant.make(place.path);
    using elsewhere = scratch();
    const next = await Plant.make(elsewhere.path);
    await prepareInstallation(dataBeside(place.path), press);
    await using server = await up(configured(place.path, withAnchor("revocation: off, refreshSeconds: 1")));
    const { ca } = firstBundle(server.data);
    const old = await attempt(server.urls[0], { ca, ...plant.credentials(await plant.device("press")) });
    assert.equal(old.code, 0);
    plant.write("plant-ca.pem", "broken");
    await server.process.until(/could not be read again/);
    assert.equal(old.client.connected, true);
    const ended = new Promise<void>((resolve) => old.client.once("close", () => resolve()));
    plant.write("plant-ca.pem", next.root.certificate);
    await ended;
    const fresh = next.credentials(await next.device("press"));
    for (const url of server.urls) {
      const { client, code } = await attempt(url, { ca, ...fresh });
      assert.equal(code, 0, url);
      await client.endAsync();
    }
    const again = await attempt(server.urls[1], { ca, ...plant.credentials(await plant.device("press")) });
    assert.equal(again.code, 0x87);
  });

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    it(`are asked again when a TLS session is resumed, which brings the leaf alone (${version})`, async () => {
      using place = scratch();
      const plant = await Plant.make(place.path);
      const device = await plant.device("press");
      plant.write("plant.crl", plant.crl([]));
      await prepareInstallation(dataBeside(place.path), press);
      const text = `${withAnchor("crls: [root.crl, plant.crl]")}tls: { sessionResumption: true }\n`;
      await using server = await up(configured(place.path, text));
      const first = await visit(server, plant, device, { minVersion: version, maxVersion: version });
      assert.deepEqual([first.code, first.reused], [0, false]);
      const resumed = {
        minVersion: version,
        maxVersion: version,
        ...(first.session && { session: first.session }),
      };
      const second = await visit(server, plant, device, resumed);
      assert.deepEqual([second.code, second.reused], [0, true]);
      plant.write("plant.crl", plant.crl([device]));
      const third = await visit(server, plant, device, {
        ...resumed,
        ...(second.session && { session: second.session }),
      });
      assert.deepEqual([third.code, third.reused], [0x87, true]);
      await audited(server.data, ({ detail }) => /was revoked at/.test(String(detail)));
    });
  }
});

async function visit(server: TestServer, plant: Plant, device: KeyPair, options: ConnectionOptions) {
  const { ca } = firstBundle(server.data);
  const port = portOf(server.urls[0]);
  const socket: TLSSocket = connect({
    host: "127.0.0.1",
    port,
    ca,
    ...plant.credentials(device),
    ...options,
  });
  socket.on("error", () => {});
  let session: Buffer | undefined;
  socket.on("session", (fresh: Buffer) => (session = fresh));
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  const reused = socket.isSessionReused();
  const code = await connectMqtt(socket, `c${Math.random()}`);
  session ??= socket.getSession();
  socket.destroy();
  return { code, reused, session };
}
