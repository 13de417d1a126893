import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { CertificateBundle } from "@postern/core/bundle";
import { connect } from "@postern/device/index";
import { parseEui64 } from "@postern/zigbee/eui64";
import * as build from "@postern/zigbee/testing";

import { configured, tlsAlone } from "./support/configurations.ts";
import { command, firstBundle, scratch, up, type Scratch, type TestServer } from "./support/postern.ts";

let directory: Scratch;
let server: TestServer;
let bundle: CertificateBundle;

before(async () => {
  directory = scratch();
  server = await up(configured(directory.path, tlsAlone));
  bundle = firstBundle(server.data);
});

after(async () => {
  await server[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

/** A capture in which the network key is sent in clear. */
function capture(): Buffer {
  const source = parseEui64("00:15:8d:00:00:00:00:02");
  assert.ok(source !== undefined);
  const key = build.unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
  const transport = build.apsCommand(build.transportKey(1, key, source, source));
  const nwk = build.nwkFrame({ destination: 0, source: 1 }, transport);
  return Buffer.from(
    build.pcapFile([build.macData({ pan: 0x1a62, destination: 0, source: 1, macSequence: 1 }, nwk)]),
  );
}

describe("postern zigbee watch --publish", () => {
  it("publishes each finding to whoever is subscribed, and ends when all are acknowledged", async () => {
    const device = await connect(bundle, { clientId: "reader", sessionExpirySeconds: 0 });
    try {
      const alerts = device.subscribe("alerts/#");
      await alerts.ready;
      const path = join(server.data, "bundles", "first-device.json");
      const args = ["zigbee", "watch", "--publish", "alerts/zigbee", "--bundle", path];
      const { code, stderr } = await command(args, { input: capture() });
      assert.deepEqual([code, stderr], [0, ""]);
      const { value } = await alerts.next();
      assert.equal(value?.topic, "alerts/zigbee");
      assert.match(value?.text() ?? "", /^\{"id":"ZB-KEY-CLEAR","severity":"critical",/);
    } finally {
      await device.close();
    }
  });

  it("says what is missing, and what is no topic", async () => {
    const alone = await command(["zigbee", "watch", "--publish", "a"], { input: "" });
    assert.equal(alone.code, 2);
    assert.match(alone.stderr, /--publish and --bundle belong together/);
    const wildcard = ["zigbee", "watch", "--publish", "a/#", "--bundle", "nowhere.json"];
    assert.match((await command(wildcard, { input: "" })).stderr, /--publish is "a\/#", not a topic/);
  });
});
