import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

import { dial, gateStage, gateStatus } from "./support/gate-stage.ts";

const refused = await hostsRefused();
const server = "192.168.1.126";
const outside = "192.168.1.50";
const inside = "10.50.0.2";

describe("a device behind NAT", refused === undefined ? {} : { skip: refused }, () => {
  it("names the address it is seen from once somebody told it, without its packets being for anybody's", async () => {
    await using stage = await gateStage({
      gate: { windowSeconds: 60 },
      network: {
        hosts: { server: { ipv4: `${server}/24` } },
        nat: {
          outside: { ipv4: `${outside}/24` },
          inside: "10.50.0.1/24",
          hosts: { "client-1": { ipv4: `${inside}/24` } },
        },
      },
      devices: { "client-1": ["device"] },
    });
    const bundle = stage.bundle("client-1");
    const remembered = `${bundle}.address`;
    const publish = (...more: string[]): ReturnType<typeof stage.run> =>
      stage.run("client-1", [
        "pub",
        "devices/client-1/x",
        "1",
        "--qos",
        "1",
        "--bundle",
        bundle,
        "--no-reconnect",
        ...more,
      ]);
    // Its own address is not what the gate sees.
    assert.equal((await stage.run("client-1", ["knock", "--bundle", bundle])).code, 0);
    assert.equal(await dial(stage.host("client-1"), server), "nothing");
    assert.equal((await gateStatus(stage)).counters["source-mismatch"], 1);
    const wrong = await stage.run("client-1", ["knock", "--bundle", bundle, "--address", "here"]);
    assert.equal(wrong.code, 2, wrong.stderr);
    // Somebody says it once,
    const told = await stage.run("client-1", ["knock", "--bundle", bundle, "--address", outside, "--check"]);
    assert.equal(told.code, 0, told.stderr);
    assert.match(told.stdout, new RegExp(`open for ${outside.replaceAll(".", "\\.")}; the door is open`));
    assert.deepEqual(JSON.parse(readFileSync(remembered, "utf8")), {
      postern: 1,
      seen: { [inside]: outside },
    });
    const published = await publish();
    assert.equal(published.code, 0, published.stderr);
    // or the server does, whenever the device has come in: here through a window that is still open.
    assert.equal((await stage.run("client-1", ["knock", "--bundle", bundle])).code, 0);
    rmSync(remembered);
    assert.equal((await publish()).code, 0);
    assert.deepEqual(JSON.parse(readFileSync(remembered, "utf8")), {
      postern: 1,
      seen: { [inside]: outside },
    });
    const { counters } = await gateStatus(stage);
    assert.equal((await publish()).code, 0);
    assert.equal((await gateStatus(stage)).counters["source-mismatch"], counters["source-mismatch"]);
  });
});
