import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { FirewallRefusedError } from "../errors.ts";
import { connects, echoServer, enterLoopbackNetwork, loopbackNetwork } from "../testing/loopback-network.ts";
import { namespacesRefused } from "../testing/network-namespace.ts";
import { openHostFirewall } from "./host-firewall.ts";
import { profileRuleset, type HostProfile } from "./profile.ts";

const refused = namespacesRefused();
if (refused === undefined) await enterLoopbackNetwork();

const profile: HostProfile = { kind: "device", in: [], out: [] };

/** Puts a profile in place as a test needs it: for a shorter time than anybody may ask for, and without its loopback. */
function load(text: string): void {
  const { status, stderr } = spawnSync("nft", ["-f", "-"], {
    input: text.replaceAll(/.*fname "lo" accept\n/g, ""),
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
}

describe("a profile in the kernel", refused === undefined ? {} : { skip: refused }, () => {
  it("is tried, confirmed and removed", async () => {
    using firewall = await openHostFirewall();
    assert.deepEqual(firewall.state(), { kind: "absent" });
    assert.throws(() => firewall.confirm(), FirewallRefusedError);
    firewall.tryOut(profile, 60);
    assert.deepEqual(firewall.state(), { kind: "trial", remainingSeconds: 60 });
    firewall.confirm();
    firewall.confirm();
    assert.deepEqual(firewall.state(), { kind: "confirmed" });
    firewall.tryOut(profile, 30);
    assert.deepEqual(firewall.state(), { kind: "trial", remainingSeconds: 30 });
    firewall.remove();
    firewall.remove();
    assert.deepEqual(firewall.state(), { kind: "absent" });
  });

  it("lets everything through again when nobody confirms it in time, by the kernel's own clock", async () => {
    using server = await echoServer();
    using firewall = await openHostFirewall();
    const from = loopbackNetwork.ipv4[0];
    load(profileRuleset(profile, 10).replaceAll("timeout 10s", "timeout 500ms"));
    assert.equal(await connects({ from, port: server.port }), false);
    await delay(550);
    assert.equal(await connects({ from, port: server.port }), true);
    assert.deepEqual(firewall.state(), { kind: "over" });
    assert.throws(() => firewall.confirm(), FirewallRefusedError);
    load(profileRuleset(profile));
    assert.equal(await connects({ from, port: server.port }), false);
    firewall.remove();
  });
});
