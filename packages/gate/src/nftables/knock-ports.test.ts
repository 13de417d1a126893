import assert from "node:assert/strict";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { systemClock } from "@postern/core/clock";

import { defaultGuardPlan, type GuardPlan, type KnockPort } from "../guard-plan.ts";
import { source } from "../testing/firewall-suite.ts";
import { connects, echoServer, enterLoopbackNetwork, loopbackNetwork } from "../testing/loopback-network.ts";
import { namespacesRefused } from "../testing/network-namespace.ts";
import { NftablesFirewall } from "./nftables-firewall.ts";

const refused = namespacesRefused();
if (refused === undefined) await enterLoopbackNetwork();

const { server4, server6 } = loopbackNetwork;
const [client4, stranger4] = loopbackNetwork.ipv4;
const [client6, stranger6] = loopbackNetwork.ipv6;
const packetBytes = 84;
const exactLength = { min: packetBytes, max: packetBytes };

/** A firewall with one knock port, and what arrives there. */
interface KnockDoor extends AsyncDisposable {
  readonly firewall: NftablesFirewall;
  readonly port: number;
  readonly arrived: { readonly from: string; readonly payload: Buffer }[];
  send(from: string, payloads: readonly Uint8Array[]): Promise<void>;
}

async function bound(address: string, port = 0): Promise<Socket> {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  socket.bind(port, address);
  await once(socket, "listening");
  return socket;
}

async function knockDoor(
  overrides: Partial<GuardPlan> & { knock?: Partial<KnockPort> } = {},
): Promise<KnockDoor> {
  const arrived: KnockDoor["arrived"] = [];
  const first = await bound(server4);
  const { port } = first.address();
  const doors = [first, await bound(server6, port)];
  for (const door of doors) {
    door.on("message", (payload, { address }) => arrived.push({ from: address, payload }));
  }
  const { knock, ...plan } = overrides;
  const firewall = await NftablesFirewall.open({ clock: systemClock });
  firewall.hide({
    ...defaultGuardPlan,
    hiddenPorts: [],
    knockPorts: [{ transport: "udp", port, payloadBytes: exactLength, ...knock }],
    ...plan,
  });
  return {
    firewall,
    port,
    arrived,
    async send(from, payloads) {
      const socket = await bound(from);
      for (const payload of payloads) {
        await new Promise((resolve) =>
          socket.send(payload, port, from.includes(":") ? server6 : server4, resolve),
        );
      }
      socket.close();
      await delay(20);
    },
    async [Symbol.asyncDispose]() {
      firewall.remove();
      await firewall[Symbol.asyncDispose]();
      for (const door of doors) door.close();
    },
  };
}

/** A packet of the right length that begins with a hint, or with zeros. */
function packet(hint: string = "00".repeat(8)): Buffer {
  return Buffer.concat([Buffer.from(hint, "hex"), Buffer.alloc(packetBytes - 8)]);
}

function copies(count: number, payload: Buffer): Buffer[] {
  return Array.from({ length: count }, () => payload);
}

describe("knock ports", refused === undefined ? {} : { skip: refused }, () => {
  for (const [family, from] of [
    ["IPv4", client4],
    ["IPv6", client6],
  ] as const) {
    it(`let through packets of the right length only, of all from 0 to 1,500 (${family})`, async () => {
      await using door = await knockDoor({ knocksPerSourcePerSecondMax: 10_000 });
      await door.send(
        from,
        Array.from({ length: 1_501 }, (_, length) => Buffer.alloc(length)),
      );
      assert.deepEqual(
        door.arrived.map(({ payload }) => payload.length),
        [packetBytes],
      );
      assert.equal(door.firewall.counts().get("knocks_misshapen"), 1_500);
      assert.equal(door.firewall.counts().get("knocks"), 1);
    });
  }

  it("let through a range of lengths", async () => {
    await using door = await knockDoor({ knock: { payloadBytes: { min: 36, max: 40 } } });
    await door.send(
      client4,
      [35, 36, 40, 41].map((length) => Buffer.alloc(length)),
    );
    assert.deepEqual(
      door.arrived.map(({ payload }) => payload.length),
      [36, 40],
    );
  });

  it("let one source send no more than it may, and others all the same", async () => {
    await using door = await knockDoor({ knocksPerSourcePerSecondMax: 10 });
    for (const from of [client4, client6]) {
      await door.send(from, copies(100, packet()));
      const count = door.arrived.filter((arrival) => arrival.from === from).length;
      assert.ok(count >= 20 && count < 40, `${from}: ${count}`);
    }
    await door.send(stranger4, [packet()]);
    await door.send(stranger6, [packet()]);
    assert.ok(door.arrived.some(({ from }) => from === stranger4));
    assert.ok(door.arrived.some(({ from }) => from === stranger6));
    assert.ok((door.firewall.counts().get("knocks_limited") ?? 0) >= 120);
  });

  it("let the hint of a device through while a flood of unknown ones is cut, also from the same source", async () => {
    await using door = await knockDoor({ knocksPerSourcePerSecondMax: 10, knocksPerSecondMax: 10 });
    const hint = "f3d198dbea473a46";
    const leadingZero = "0012345678901234";
    await door.firewall.addHints(
      [hint, leadingZero].map((text) => ({ hint: Buffer.from(text, "hex"), seconds: 60 })),
    );
    for (const from of [client4, client6]) {
      await door.send(from, [...copies(300, packet()), packet(hint), packet(leadingZero)]);
    }
    const known = door.arrived.map(({ payload }) => payload.toString("hex", 0, 8));
    assert.equal(known.filter((text) => text === hint).length, 2);
    assert.equal(known.filter((text) => text === leadingZero).length, 2);
    assert.ok(door.arrived.length < 60);
  });

  it("let one hint come no oftener than it may: whoever copies it from the wire floods nobody", async () => {
    await using door = await knockDoor({ knocksPerHintPerSecondMax: 5 });
    const hint = "f3d198dbea473a46";
    await door.firewall.addHints([{ hint: Buffer.from(hint, "hex"), seconds: 60 }]);
    await door.send(stranger4, copies(200, packet(hint)));
    assert.ok(door.arrived.length >= 10 && door.arrived.length < 20, `${door.arrived.length}`);
  });

  it("let a banned source's packets through, unless a ban is to stop them", async () => {
    for (const bansStopKnocks of [false, true]) {
      await using door = await knockDoor({ bansStopKnocks });
      for (const from of [client4, client6]) {
        await door.firewall.ban(source(from), 60);
        await door.send(from, [packet()]);
      }
      assert.equal(door.arrived.length, bansStopKnocks ? 0 : 2);
    }
  });

  it("let registered addresses and prefixes knock, and nobody else", async () => {
    await using door = await knockDoor({ registeredSources: [client4, "fd77:0:0:2::/64"] });
    for (const from of [client4, stranger4, client6, stranger6]) await door.send(from, [packet()]);
    assert.deepEqual(
      door.arrived.map(({ from }) => from),
      [client4, client6],
    );
    assert.equal(door.firewall.counts().get("knocks_unregistered"), 2);
  });

  it("are not given away by the kernel while nobody listens on them", async () => {
    const silent = 9;
    const firewall = await NftablesFirewall.open({ clock: systemClock });
    const complaint = async (from: string): Promise<string> => {
      const socket = createSocket(from.includes(":") ? "udp6" : "udp4");
      socket.connect(silent, from.includes(":") ? server6 : server4);
      await once(socket, "connect");
      const failed = once(socket, "error").then(([error]) => String(error));
      socket.send(packet());
      const text = await Promise.race([failed, delay(100, "nothing")]);
      socket.close();
      return text;
    };
    for (const from of [client4, client6]) assert.match(await complaint(from), /ECONNREFUSED/);
    firewall.hide({
      ...defaultGuardPlan,
      hiddenPorts: [],
      knockPorts: [{ transport: "udp", port: silent, payloadBytes: exactLength }],
    });
    for (const from of [client4, client6]) assert.equal(await complaint(from), "nothing");
    firewall.remove();
    await firewall[Symbol.asyncDispose]();
  });

  it("over TCP answer who is registered and not banned", async () => {
    using server = await echoServer();
    await using firewall = await NftablesFirewall.open({ clock: systemClock });
    firewall.hide({
      ...defaultGuardPlan,
      hiddenPorts: [],
      knockPorts: [{ transport: "tcp", port: server.port }],
      registeredSources: [client4, client6],
    });
    const { port } = server;
    assert.equal(await connects({ from: client4, port }), true);
    assert.equal(await connects({ from: client6, port }), true);
    assert.equal(await connects({ from: stranger4, port }), false);
    await firewall.ban(source(client4), 60);
    assert.equal(await connects({ from: client4, port }), false);
    firewall.remove();
  });
});
