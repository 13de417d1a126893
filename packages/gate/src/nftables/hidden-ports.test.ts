import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { connect } from "node:net";
import { describe, it } from "node:test";

import { systemClock } from "@postern/core/clock";

import { watchFirewall } from "../firewall-watch.ts";
import { defaultGuardPlan, type GuardPlan } from "../guard-plan.ts";
import { address, source } from "../testing/firewall-suite.ts";
import {
  connects,
  echoes,
  echoServer,
  enterLoopbackNetwork,
  loopbackNetwork,
  tryConnect,
} from "../testing/loopback-network.ts";
import { namespacesRefused } from "../testing/network-namespace.ts";
import { silentLog } from "@postern/core/log";
import { NftablesFirewall } from "./nftables-firewall.ts";

const refused = namespacesRefused();
if (refused === undefined) await enterLoopbackNetwork();

const [client4, stranger4] = loopbackNetwork.ipv4;
const [client6, stranger6] = loopbackNetwork.ipv6;

function nft(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("nft", args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}

type Guarded = AsyncDisposable & { readonly firewall: NftablesFirewall; readonly port: number };

async function guarded(overrides: Partial<GuardPlan> = {}): Promise<Guarded> {
  const server = await echoServer();
  const firewall = await NftablesFirewall.open({ clock: systemClock });
  firewall.hide({
    ...defaultGuardPlan,
    hiddenPorts: [server.port],
    knockPorts: [],
    loopbackIsOpen: false,
    ...overrides,
  });
  return {
    firewall,
    port: server.port,
    async [Symbol.asyncDispose]() {
      firewall.remove();
      await firewall[Symbol.asyncDispose]();
      server[Symbol.dispose]();
    },
  };
}

describe("hidden ports", refused === undefined ? {} : { skip: refused }, () => {
  it("keep what is established when the window closes, the source is banned, and the rules are made anew", async () => {
    await using test = await guarded();
    const { firewall, port } = test;
    for (const from of [client4, client6]) {
      const target = { source: address(from), sourcePort: 0, ports: [port] };
      await firewall.openWindow(target, 30);
      const socket = await tryConnect({ from, port });
      assert.ok(socket);
      await firewall.closeWindow(target);
      assert.equal(await echoes(socket), true);
      await firewall.ban(source(from), 60);
      assert.equal(await echoes(socket), true);
      firewall.hide({ ...defaultGuardPlan, hiddenPorts: [port], knockPorts: [], loopbackIsOpen: false });
      assert.equal(await echoes(socket), true);
      assert.equal(await connects({ from, port }), false);
      socket.destroy();
    }
  });

  it("leave all other ports of the machine alone", async () => {
    await using test = await guarded();
    using other = await echoServer();
    assert.equal(await connects({ from: stranger4, port: other.port }), true);
    assert.equal(await connects({ from: stranger6, port: other.port }), true);
    assert.equal(await connects({ from: stranger4, port: test.port }), false);
  });

  it("answer programs of this machine, unless these are to knock too", async () => {
    await using test = await guarded({ loopbackIsOpen: true });
    assert.equal(await connects({ from: stranger4, port: test.port }), true);
  });

  it("let one source have no more connections than it may, counted for an IPv6 /64", async () => {
    await using test = await guarded({ connectionsPerSourceMax: 8 });
    const { firewall, port } = test;
    for (const from of [client4, client6]) {
      await firewall.openWindow({ source: address(from), sourcePort: 0, ports: [port] }, 30);
      const sockets = await Promise.all(Array.from({ length: 12 }, () => tryConnect({ from, port })));
      assert.equal(sockets.filter((socket) => socket !== undefined).length, 8, from);
      for (const socket of sockets) socket?.destroy();
    }
    assert.ok((firewall.counts().get("capped") ?? 0) >= 8);
  });

  it("count what they did not answer", async () => {
    await using test = await guarded();
    assert.equal(await connects({ from: stranger4, port: test.port }), false);
    assert.ok((test.firewall.counts().get("hidden") ?? 0) >= 1);
    await test.firewall.ban(source(stranger4), 60);
    assert.equal(await connects({ from: stranger4, port: test.port }), false);
    assert.ok((test.firewall.counts().get("banned") ?? 0) >= 1);
  });

  it("stay hidden when the gate is gone, and the next one takes over windows and bans with the time they have left", async () => {
    const server = await echoServer();
    const { port } = server;
    const plan = { ...defaultGuardPlan, hiddenPorts: [port], knockPorts: [], loopbackIsOpen: false };
    {
      await using first = await NftablesFirewall.open({ clock: systemClock });
      first.hide(plan);
      await first.openWindow({ source: address(client4), sourcePort: 0, ports: [port] }, 30);
      await first.openWindow({ source: address(client6), sourcePort: 0, ports: [port] }, 300);
      await first.openWindow({ source: address(client6), sourcePort: 5_000, ports: [port] }, 300);
      await first.ban(source(stranger4), 600);
      await first.ban(source(stranger6), 21_600);
    }
    assert.equal(await connects({ from: stranger4, port }), false);
    assert.equal(await connects({ from: client4, port }), true);
    await using second = await NftablesFirewall.open({ clock: systemClock });
    second.hide(plan);
    const windows = (await second.listWindows()).map(({ source, sourcePort }) => `${source} ${sourcePort}`);
    assert.deepEqual(windows.sort(), [`${client4} 0`, `${client6} 0`, `${client6} 5000`]);
    const bans = await second.listBans();
    assert.deepEqual(bans.map((ban) => ban.source).sort(), [stranger4, "fd77:0:0:3::/64"].sort());
    assert.ok(bans.every(({ remainingSeconds }) => remainingSeconds > 590 && remainingSeconds < 21_600));
    assert.equal(await connects({ from: client6, port }), true);
    second.remove();
    assert.equal(await connects({ from: stranger4, port }), true);
    server[Symbol.dispose]();
  });

  it("have no moment in which they answer a stranger while the rules are made anew", async () => {
    await using test = await guarded();
    const { firewall, port } = test;
    const answered: string[] = [];
    const knocking = new AbortController();
    const tries = Array.from({ length: 8 }, async () => {
      while (!knocking.signal.aborted) {
        const socket = connect({ host: loopbackNetwork.server4, port, localAddress: stranger4 });
        socket
          .on("connect", () => answered.push("connect"))
          .on("error", (error) => answered.push(error.message));
        await new Promise((resolve) => setTimeout(resolve, 2));
        socket.destroy();
      }
    });
    const plan = { ...defaultGuardPlan, hiddenPorts: [port], knockPorts: [], loopbackIsOpen: false };
    for (let round = 0; round < 100; round++) {
      if (round % 10 === 9) {
        // Another gate takes over.
        await using next = await NftablesFirewall.open({ clock: systemClock });
        next.hide(plan);
      }
      firewall.hide({ ...plan, connectionsPerSourceMax: 1 + round });
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    knocking.abort();
    await Promise.all(tries);
    assert.deepEqual(answered, []);
    assert.ok((firewall.counts().get("hidden") ?? 0) > 0);
  });
});

describe("rules that somebody else changes", refused === undefined ? {} : { skip: refused }, () => {
  const tampering: readonly [name: string, found: RegExp, commands: (port: number) => string][] = [
    ["all rules of the machine are flushed", /table is gone/, () => "flush ruleset"],
    ["the table is deleted", /table is gone/, () => "delete table inet postern"],
    ["the rules of the table are flushed", /rules or sets/, () => "flush table inet postern"],
    ["a rule lets everybody in", /rules or sets/, () => "insert rule inet postern service accept"],
    ["the table is put to sleep", /rules or sets/, () => "add table inet postern { flags dormant; }"],
    ["a chain is added", /rules or sets/, () => "add chain inet postern mine"],
    ["a set is added", /rules or sets/, () => "add set inet postern mine { type ipv4_addr; }"],
    [
      "a window is opened for a stranger",
      /a window was opened/,
      (port) => `add element inet postern windows4 { ${stranger4} . ${port} timeout 1h }`,
    ],
    [
      "a window is opened for ever",
      /a window was opened/,
      (port) => `add element inet postern windows6 { ${stranger6} . ${port} }`,
    ],
    [
      "a client's window is kept open",
      /kept open/,
      (port) =>
        `delete element inet postern windows4 { ${client4} . ${port} }; add element inet postern windows4 { ${client4} . ${port} timeout 10h }`,
    ],
    ["the windows are flushed", /a window was closed/, () => "flush set inet postern windows4"],
    ["the bans are flushed", /a ban was lifted/, () => "flush set inet postern bans4"],
    [
      "a client is banned",
      /a ban was added/,
      () => `add element inet postern bans4 { ${client4} timeout 1h }`,
    ],
  ];
  for (const [name, found, commands] of tampering) {
    it(`are made ours again when ${name}, with windows and bans as they were`, async () => {
      await using test = await guarded();
      const { firewall, port } = test;
      await firewall.openWindow({ source: address(client4), sourcePort: 0, ports: [port] }, 60);
      await firewall.ban(source("10.99.0.1"), 60);
      assert.deepEqual(firewall.inspect(), { kind: "intact" });
      nft(commands(port));
      const inspection = firewall.inspect();
      assert.equal(inspection.kind, "repaired");
      assert.match(inspection.kind === "repaired" ? inspection.found : "", found);
      assert.deepEqual(firewall.inspect(), { kind: "intact" });
      assert.equal(await connects({ from: stranger4, port }), false);
      assert.equal(await connects({ from: client4, port }), true);
      assert.deepEqual(
        (await firewall.listWindows()).map((window) => window.source),
        [client4],
      );
      assert.deepEqual(
        (await firewall.listBans()).map((ban) => ban.source),
        ["10.99.0.1"],
      );
    });
  }

  it("are not ours to judge when they stand in another table, and our own changes are no tampering", async () => {
    await using test = await guarded();
    const { firewall, port } = test;
    nft("add table inet theirs; add chain inet theirs c { type filter hook input priority 0; }");
    await firewall.openWindow({ source: address(client4), sourcePort: 0, ports: [port] }, 60);
    assert.deepEqual(firewall.inspect(), { kind: "intact" });
    nft("delete table inet theirs");
    assert.deepEqual(firewall.inspect(), { kind: "intact" });
    await firewall.closeWindow({ source: address(client4), sourcePort: 0, ports: [port] });
    assert.deepEqual(firewall.inspect(), { kind: "intact" });
  });

  it("are found when the change comes between two of ours", async () => {
    await using test = await guarded();
    const { firewall, port } = test;
    nft(`add element inet postern windows4 { ${stranger4} . ${port} timeout 1h }`);
    await firewall.openWindow({ source: address(client4), sourcePort: 0, ports: [port] }, 60);
    assert.equal(firewall.inspect().kind, "repaired");
    assert.equal(await connects({ from: stranger4, port }), false);
  });

  it("are mended by the watch within a second", async () => {
    await using test = await guarded();
    const repaired = Promise.withResolvers<void>();
    using watch = watchFirewall(test.firewall, {
      log: silentLog,
      onExposed: () => repaired.reject(new Error("exposed")),
      onRepaired: () => repaired.resolve(),
    });
    const begin = performance.now();
    nft("flush ruleset");
    await repaired.promise;
    assert.ok(watch);
    assert.ok(performance.now() - begin < 1_000);
    assert.equal(await connects({ from: stranger4, port: test.port }), false);
  });
});

describe("the watch", () => {
  it("tells once when ports are exposed, and once when they no longer are", async () => {
    const found: ("exposed" | "intact")[] = ["intact", "exposed", "exposed", "intact", "intact"];
    const told: boolean[] = [];
    const done = Promise.withResolvers<void>();
    using watch = watchFirewall(
      {
        inspect: () => {
          const next = found.shift();
          if (next === undefined) done.resolve();
          return next === "exposed" ? { kind: next, found: "x", cause: new Error("y") } : { kind: "intact" };
        },
      },
      { log: silentLog, onExposed: (isExposed) => told.push(isExposed), intervalMs: 1 },
    );
    await done.promise;
    assert.ok(watch);
    assert.deepEqual(told, [true, false]);
  });
});
