import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { FirewallRefusedError } from "../errors.ts";
import { connects, echoServer, enterLoopbackNetwork, loopbackNetwork } from "../testing/loopback-network.ts";
import { namespacesRefused } from "../testing/network-namespace.ts";
import { openHostFirewall } from "./host-firewall.ts";
import { profileRuleset, profileTable, trialCommands, type HostProfile } from "./profile.ts";

const refused = namespacesRefused();
if (refused === undefined) await enterLoopbackNetwork();

const profile: HostProfile = { kind: "device", in: [], out: [] };

function nft(text: string): void {
  const { status, stderr } = spawnSync("nft", ["-f", "-"], { input: text, encoding: "utf8" });
  assert.equal(status, 0, stderr);
}

/** Puts a profile in place as a test needs it: for a shorter time than anybody may ask for, and without its loopback. */
function load(text: string): void {
  nft(text.replaceAll(/.*fname "lo" accept.*\n/g, "").replaceAll("timeout 10s", "timeout 1200ms"));
}

/** The rules as the kernel has them. */
function listed(): string {
  return spawnSync("nft", ["list", "table", "inet", profileTable], { encoding: "utf8" }).stdout;
}

async function until(what: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!what()) {
    assert.ok(performance.now() < end, what.toString());
    await delay(20);
  }
}

describe("a profile in the kernel", refused === undefined ? {} : { skip: refused }, () => {
  it("is tried, confirmed and removed", async () => {
    using firewall = await openHostFirewall();
    assert.deepEqual(firewall.state(), { kind: "absent" });
    assert.throws(() => firewall.confirm(), FirewallRefusedError);
    firewall.tryOut(profile, 60);
    assert.deepEqual(firewall.state(), { kind: "trial", remainingSeconds: 60, otherwise: "open" });
    firewall.confirm();
    firewall.confirm();
    assert.deepEqual(firewall.state(), { kind: "confirmed" });
    firewall.tryOut(profile, 30);
    assert.deepEqual(firewall.state(), { kind: "trial", remainingSeconds: 30, otherwise: "confirmed" });
    firewall.remove();
    firewall.remove();
    assert.deepEqual(firewall.state(), { kind: "absent" });
  });

  it("lets everything through again when nobody confirms it in time, by the kernel's own clock", async () => {
    using server = await echoServer();
    using firewall = await openHostFirewall();
    const from = loopbackNetwork.ipv4[0];
    load(profileRuleset(profile, 10));
    assert.equal(await connects({ from, port: server.port }), false);
    await until(() => firewall.state().kind === "over");
    assert.equal(await connects({ from, port: server.port }), true);
    assert.deepEqual(firewall.state(), { kind: "over" });
    assert.throws(() => firewall.confirm(), FirewallRefusedError);
    assert.throws(() => firewall.save(), FirewallRefusedError);
    load(profileRuleset(profile));
    assert.equal(await connects({ from, port: server.port }), false);
    firewall.remove();
  });

  it("comes back exactly as it was confirmed when another that was tried in its place is not confirmed", async () => {
    using server = await echoServer();
    using other = await echoServer();
    using firewall = await openHostFirewall();
    const from = loopbackNetwork.ipv4[0];
    const open = async (): Promise<boolean[]> => [
      await connects({ from, port: server.port }),
      await connects({ from, port: other.port }),
    ];
    const letting = (port: number): HostProfile => ({
      kind: "device",
      in: [{ protocol: "tcp", port }],
      out: [server, other].map((each) => ({ protocol: "tcp" as const, port: each.port })),
    });
    load(profileRuleset(letting(server.port)));
    assert.deepEqual(await open(), [true, false]);
    const confirmed = firewall.save();
    for (let round = 0; round < 2; round++) {
      load(trialCommands(letting(other.port), "b", 10));
      assert.equal(firewall.state().kind, "trial");
      assert.throws(() => firewall.save(), FirewallRefusedError);
      assert.deepEqual(await open(), [false, true]);
      await until(() => firewall.state().kind === "restored");
      assert.deepEqual(await open(), [true, false]);
      assert.throws(() => firewall.confirm(), { message: /confirmed before is in force again/ });
    }
    const chain = /chain a_arrivals \{[^}]*\}[^}]*\}/;
    assert.equal(chain.exec(firewall.save())?.[0], chain.exec(confirmed)?.[0]);
    assert.deepEqual(firewall.state(), { kind: "confirmed" });
    firewall.remove();
  });

  it("replaces what was confirmed when it is confirmed itself, however often", async () => {
    using firewall = await openHostFirewall();
    for (const port of [1, 2, 3, 4]) {
      firewall.tryOut({ kind: "server", in: [{ protocol: "tcp", port }], out: [] }, 60);
      firewall.confirm();
      assert.deepEqual(firewall.state(), { kind: "confirmed" });
      assert.deepEqual(listed().match(/tcp dport \d+/g), [`tcp dport ${port}`]);
    }
    // The last of several that are tried counts, and what was confirmed is still there behind it.
    for (const port of [5, 6]) {
      firewall.tryOut({ kind: "server", in: [{ protocol: "tcp", port }], out: [] }, 60);
      assert.deepEqual(
        listed()
          .match(/tcp dport \d+/g)
          ?.sort(),
        ["tcp dport 4", `tcp dport ${port}`].sort(),
      );
    }
    firewall.remove();
  });

  it("is saved as a file that brings the same rules back after a restart of the machine", async () => {
    using firewall = await openHostFirewall();
    const full: HostProfile = {
      kind: "server",
      in: [
        { protocol: "udp", port: 62_201, purpose: "knock" },
        { protocol: "tcp", port: 22, peer: "fd00::/64", purpose: "listed" },
      ],
      out: [{ protocol: "udp", port: 53, peer: "192.168.1.1" }],
    };
    assert.throws(() => firewall.save(), FirewallRefusedError);
    firewall.tryOut(full, 60);
    firewall.confirm();
    const before = listed();
    const saved = firewall.save();
    // The kernel of a machine that starts has none of it.
    firewall.remove();
    nft(saved);
    assert.deepEqual(firewall.state(), { kind: "confirmed" });
    assert.equal(listed(), before);
    nft(saved);
    assert.equal(listed(), before);
    firewall.tryOut(full, 60);
    assert.deepEqual(firewall.state(), { kind: "trial", remainingSeconds: 60, otherwise: "confirmed" });
    firewall.remove();
  });
});
