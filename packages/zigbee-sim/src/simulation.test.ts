import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { ApsCommandId } from "@postern/zigbee/aps/aps-command";
import { encodeSkke } from "@postern/zigbee/aps/encode-aps-command";
import { encodeApsCommandHeader } from "@postern/zigbee/aps/encode-aps-frame";
import { eui64At } from "@postern/zigbee/eui64";
import { encodeNwkHeader } from "@postern/zigbee/nwk/encode-nwk-frame";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";
import { joined } from "@postern/zigbee/security/mmo-hash";

import { measuredRun } from "./measurements.ts";
import { batteryDays } from "./radio/energy.ts";
import { recordingPcap } from "./recording.ts";
import { type Scenario } from "./scenario.ts";
import { scenarios } from "./scenarios.ts";
import { Simulation } from "./simulation.ts";

function scenario(name: string, changes: Partial<Scenario> = {}): Scenario {
  const found = scenarios[name];
  assert.ok(found !== undefined);
  return { ...found, ...changes };
}

function recorded(seed: number): Uint8Array {
  const simulation = new Simulation(scenario("star"), seed);
  simulation.run(60);
  return recordingPcap(simulation.frames);
}

describe("a simulated network", () => {
  it("is the same for the same seed, to the byte, and another for another", () => {
    assert.deepEqual(recorded(1), recorded(1));
    assert.notDeepEqual(recorded(1), recorded(2));
  });

  for (const name of Object.keys(scenarios)) {
    it(`lets every device of ${name} join, gives each a link key of its own, and delivers`, () => {
      for (const seed of [1, 2]) {
        const simulation = new Simulation(scenario(name), seed);
        const { delivery, joined, latencyMedianMs } = measuredRun(simulation);
        const devices = simulation.devices.filter(({ isCoordinator }) => !isCoordinator);
        assert.equal(joined, devices.length);
        const keys = devices.map(({ joiner }) => Buffer.from(joiner.linkKey ?? []).toString("hex"));
        assert.equal(new Set(keys).size, devices.length);
        assert.ok(devices.every(({ joiner }) => joiner.stage === "established"));
        assert.ok(delivery > 0.97 && latencyMedianMs < 500, `delivery ${delivery}`);
      }
    });
  }

  it("finds another way when a router of the mesh dies", () => {
    const mesh = scenario("mesh", { seconds: 240 });
    const nodes = mesh.nodes.map((node) => (node.name === "router-3" ? { ...node, stopSeconds: 90 } : node));
    const simulation = new Simulation({ ...mesh, nodes }, 4);
    simulation.run();
    const repairs = simulation.devices.reduce((sum, { nwk }) => sum + nwk.routing.repairs, 0);
    assert.ok(repairs > 0);
    const late = simulation.truth.messages.filter(({ sentUs }) => sentUs > 150e6 && sentUs < 235e6);
    const arrived = late.filter(({ deliveredUs }) => deliveredUs !== undefined);
    assert.ok(arrived.length / late.length > 0.9, `${arrived.length} of ${late.length}`);
  });

  it("lets an end device that lost its parent come back under another", () => {
    const mesh = scenario("mesh", { seconds: 240 });
    const nodes = mesh.nodes.map((node) => (node.name === "router-5" ? { ...node, stopSeconds: 60 } : node));
    const simulation = new Simulation({ ...mesh, nodes }, 1);
    simulation.run();
    const orphan = simulation.device("thermometer-2");
    assert.notEqual(orphan.place.parent, simulation.device("router-5").place.short);
    const late = simulation.truth.messages.filter(
      ({ source, sentUs }) => source === orphan.plan.name && sentUs > 180e6 && sentUs < 235e6,
    );
    assert.ok(late.length > 0 && late.every(({ deliveredUs }) => deliveredUs !== undefined));
  });

  it("goes on under a new network key, with counters from 0", () => {
    const star = scenario("star", { seconds: 150 });
    const simulation = new Simulation({ ...star, security: { ...star.security, keyUpdateSeconds: 60 } }, 2);
    const { delivery } = measuredRun(simulation);
    assert.ok(simulation.devices.every(({ networkKeys }) => networkKeys.active?.sequence === 1));
    assert.ok(simulation.devices.every(({ nwk }) => nwk.security.outgoing.persisted <= 1_024));
    assert.ok(delivery > 0.97, `delivery ${delivery}`);
  });

  it("forms a network without trust centre, in which every router hands out the key", () => {
    const mesh = scenario("mesh", { seconds: 120 });
    const simulation = new Simulation({ ...mesh, security: { ...mesh.security, model: "distributed" } }, 4);
    const { delivery, joined } = measuredRun(simulation);
    assert.equal(joined, mesh.nodes.length - 1);
    assert.ok(delivery > 0.97, `delivery ${delivery}`);
    assert.notEqual(simulation.coordinator.place.short, 0, "nobody has the address of a coordinator");
    const givers = simulation.devices.filter(({ trustCentre }) => (trustCentre?.devices.length ?? 0) > 0);
    assert.ok(givers.length > 1, "only one router has handed out the key");
    const first = simulation.coordinator.networkKeys.active?.bytes;
    for (const { networkKeys, joiner } of simulation.devices) {
      assert.deepEqual(networkKeys.active?.bytes, first);
      assert.notEqual(joiner.stage, "requested");
    }
  });

  for (const name of ["star", "tree", "mesh"]) {
    it(`establishes link keys from master keys (SKKE) in commercial mode, through routers in a ${name}`, () => {
      const base = scenario(name, { seconds: 60 });
      const security = {
        ...base.security,
        linkKeys: "none",
        masterKeys: true,
        issuesLinkKeys: false,
      } as const;
      const simulation = new Simulation({ ...base, security }, 1);
      const { joined, delivery } = measuredRun(simulation);
      const known = simulation.coordinator.trustCentre?.devices ?? [];
      assert.equal(joined, base.nodes.length - 1);
      assert.equal(known.length, base.nodes.length - 1);
      for (const { address, linkKeyOrigin, linkKey } of known) {
        assert.equal(linkKeyOrigin, "established");
        const device = simulation.devices.find(({ plan }) => plan.address === address);
        assert.deepEqual(device?.joiner.linkKey, linkKey);
      }
      const relayed = simulation.devices.filter(
        ({ place }) => place.parent !== undefined && place.parent !== 0,
      );
      assert.equal(relayed.length > 1, name !== "star");
      assert.ok(delivery > 0.97, `delivery ${delivery}`);
    });
  }

  it("has routers pass on key establishment of children that join, and of nobody else", () => {
    const tree = scenario("tree", { seconds: 60 });
    const security = { ...tree.security, linkKeys: "none", masterKeys: true, issuesLinkKeys: false } as const;
    const recordings = [undefined, "stranger", "member"].map((who) => {
      const simulation = new Simulation({ ...tree, security }, 1);
      simulation.run(50);
      const router = simulation.devices.find(({ isRouter, place, nwk }) => {
        return isRouter && place.short !== 0 && nwk.children.size > 0;
      });
      const [child] = router?.nwk.children.values() ?? [];
      assert.ok(router !== undefined && child?.proved === true);
      const responder = who === "member" ? child.address : eui64At(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 0);
      const initiator = simulation.coordinator.address;
      const command = encodeSkke(ApsCommandId.skke2, { initiator, responder }, new Uint8Array(16));
      const header = encodeNwkHeader({
        frameType: NwkFrameType.data,
        destination: router.place.short,
        source: child.short,
        radius: 1,
        sequence: 7,
        security: false,
        discoverRoute: false,
      });
      const bytes = joined(header, encodeApsCommandHeader(1, false), command);
      const at = { start: 0, end: bytes.length, source: child.short, rssi: -50 };
      if (who !== undefined) router.nwk.receive(bytes, at);
      simulation.run(60);
      return recordingPcap(simulation.frames);
    });
    assert.deepEqual(recordings[1], recordings[0]);
    assert.deepEqual(recordings[2], recordings[0]);
  });

  for (const name of ["star", "mesh"]) {
    it(`establishes link keys by certificates (CBKE) in a ${name}, and uses them`, () => {
      const base = scenario(name, { seconds: 90, warmUpSeconds: 40 });
      const security = { ...base.security, certificates: true };
      const stack = { ...base.stack, apsEncryption: true };
      const simulation = new Simulation({ ...base, security, stack }, 1);
      const { joined, delivery } = measuredRun(simulation);
      const known = simulation.coordinator.trustCentre?.devices ?? [];
      assert.equal(joined, base.nodes.length - 1);
      for (const { address, linkKeyOrigin, linkKey } of known) {
        assert.equal(linkKeyOrigin, "established");
        const device = simulation.devices.find(({ plan }) => plan.address === address);
        assert.deepEqual(device?.joiner.linkKey, linkKey);
        assert.notDeepEqual(linkKey, device?.joiner.policy.linkKey);
      }
      assert.ok(delivery > 0.95, `delivery ${delivery}`);
    });
  }

  it("turns away, in commercial mode, whoever has neither link key nor master key", () => {
    const star = scenario("star", { seconds: 30 });
    const security = { ...star.security, linkKeys: "none" } as const;
    const simulation = new Simulation({ ...star, security }, 1);
    simulation.run();
    assert.equal(measuredRun(simulation).joined, 0);
  });

  it("loses more where interference is strong, or tries again and empties its batteries, or moves away", () => {
    const star = scenario("star", { seconds: 120 });
    const oven = { x: 0, y: 1, channel: star.channel, powerDbm: 10, burstUs: 8_000, pauseUs: 8_000 };
    const run = (stack: Partial<Scenario["stack"]>, seed: number, interference = [oven]) =>
      measuredRun(new Simulation({ ...star, interference, stack: { ...star.stack, ...stack } }, seed));
    for (const seed of [1, 2, 3]) {
      const calm = run({}, seed, []);
      assert.ok(run({ movesChannel: false, apsAcknowledgments: false }, seed).delivery < calm.delivery);
      const stays = run({ movesChannel: false }, seed);
      const moves = run({ movesChannel: true }, seed);
      assert.ok(stays.batteryDays < 0.5 * calm.batteryDays);
      assert.ok(moves.batteryDays > 2 * stays.batteryDays);
      assert.equal(moves.joined, calm.joined);
    }
  });
});

describe("the battery model", () => {
  it("gives a cell some 900 days of polls every 7.5 s (70 microcoulombs each, 1 microampere asleep)", () => {
    const days = batteryDays(70 + 7.5, 7_500_000);
    assert.ok(days > 880 && days < 940, String(days));
  });

  it("makes a poll cost some 70 microcoulombs", () => {
    const star = scenario("star");
    const nodes = star.nodes.map((node) => ({ ...node, application: "none", pollSeconds: 7.5 }) as const);
    const { batteryDays: days } = measuredRun(new Simulation({ ...star, nodes }, 1));
    assert.ok(days > 700 && days < 1_100, String(days));
  });
});
