import { type Eui64, eui64At } from "@postern/zigbee/eui64";
import { encodeMacFrame, type MacAddress } from "@postern/zigbee/mac/encode-mac-frame";
import {
  encodeAssociationRequest,
  encodeBeaconPayload,
  encodeDisassociation,
  encodeRealignment,
} from "@postern/zigbee/mac/encode-mac-payload";
import { MacCommandId } from "@postern/zigbee/mac/mac-command";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";

import { Device } from "../node/device.ts";
import { type NodePlan } from "../scenario.ts";
import { type Simulation } from "../simulation.ts";
import { Truth } from "../truth.ts";
import { type Attack, type Outcome } from "./attack.ts";
import { Attacker } from "./attacker.ts";
import { attackSeconds, building, lootOf, noLoot, room, roomWithLatecomer } from "./base.ts";

const near = { x: 4, y: 3 };
const unlimited = Number.MAX_SAFE_INTEGER;
const lostMessages = {
  name: "messages lost",
  of: ({ delivery }: Outcome) => 100 * (1 - delivery),
  unit: "%",
} as const;

function inventedAddress(attacker: Attacker): Eui64 {
  return eui64At(attacker.random.bytes(8), 0);
}

/** Sends MAC commands under addresses of others. */
function commander(
  attacker: Attacker,
): (
  command: Uint8Array,
  from: MacAddress,
  to: MacAddress,
  pans?: { readonly from?: number; readonly to?: number },
) => void {
  let sequence = attacker.random.below(256);
  return (command, from, to, pans = {}) => {
    sequence = (sequence + 1) & 0xff;
    attacker.sendPolitely(
      encodeMacFrame(
        {
          frameType: MacFrameType.command,
          sequence,
          acknowledgmentRequest: to !== 0xffff,
          destination: { pan: pans.to ?? attacker.pan, address: to },
          source: { pan: pans.from ?? attacker.pan, address: from },
        },
        command,
      ),
    );
  };
}

/** @see thesis 6.6 Association Flooding, Flooding */
export const associationFlood: Attack = {
  id: "association-flood",
  title: "Invented devices fill the tables of the coordinator",
  thesis: "6.6 Flooding",
  scenario: roomWithLatecomer,
  weak: {
    stack: { forgetsUnproved: false, associationsEachMinuteMax: unlimited },
    security: { linkKeys: "well-known", onlyAllowed: false },
  },
  defended: {
    stack: { forgetsUnproved: true, associationsEachMinuteMax: 30 },
    security: { linkKeys: "install-code", onlyAllowed: true },
  },
  defence: "a list of who may join, a limit a minute, and places are freed that nobody proves to need",
  harm: {
    name: "places of the coordinator that are taken",
    of: ({ childrenPeak }) => childrenPeak,
    unit: "",
  },
  rules: ["ZB-ASSOCIATION-FLOOD"],
  begin(simulation) {
    const attacker = new Attacker(simulation, near);
    attacker.listenFrom(attackSeconds);
    const command = commander(attacker);
    attacker.every(
      attackSeconds,
      () => 100_000,
      () => command(encodeAssociationRequest(0x80), inventedAddress(attacker), 0, { from: 0xffff }),
    );
    return () => lootOf(attacker);
  },
};

/** A coordinator of the attacker's, nearer than the real one. @see thesis 6.6 Trap networks */
export const trapNetwork: Attack = {
  id: "trap-network",
  title: "A device that is switched on joins the network of an attacker",
  thesis: "6.6 Trap networks",
  scenario: roomWithLatecomer,
  weak: {
    stack: { joinsOnlyKnownNetworks: false },
    security: { mode: "residential", linkKeys: "well-known", onlyAllowed: false, issuesLinkKeys: false },
  },
  defended: {
    stack: { joinsOnlyKnownNetworks: true },
    security: { mode: "commercial", linkKeys: "install-code" },
  },
  defence:
    "devices know the extended PAN id of their network, and take no key that their own does not protect",
  harm: { name: "devices in the trap", of: ({ other }) => other, unit: "" },
  rules: ["ZB-KEY-CLEAR"],
  begin(simulation) {
    const trap = trapOf(simulation);
    simulation.queue.after(attackSeconds * 1_000_000, () => {
      trap.start();
      simulation.truth.note("attacker", "opens a network of its own", "attack");
    });
    return () => {
      const trapped = simulation.devices.filter(
        ({ place, isMember }) => isMember && place.pan === trap.place.pan,
      );
      for (const { plan } of trapped) simulation.truth.note(plan.name, "is in the trap", "harm");
      return { ...noLoot, other: trapped.length };
    };
  },
};

function trapOf(simulation: Simulation): Device {
  const { scenario, queue, medium, random } = simulation;
  const plan: NodePlan = {
    name: "attacker",
    address: eui64At(Uint8Array.of(0x66, 0x66, 0x66, 0, 0x4d, 0x49, 0x53, 0x02), 0),
    kind: "coordinator",
    x: 10,
    y: -3,
    sleeps: false,
    application: "none",
    startSeconds: attackSeconds,
    pollSeconds: 1,
    intervalSeconds: 1,
  };
  const extendedPan = eui64At(Uint8Array.of(9, 9, 9, 9, 9, 9, 9, 9), 0);
  const rogue = { ...scenario, nodes: [plan], pan: 0x6666, extendedPan };
  const truth = new Truth(() => queue.nowUs);
  return new Device(
    plan,
    {
      scenario: rogue,
      queue,
      medium,
      random: random.derive("trap"),
      truth,
      tree: undefined,
      hub: { short: 0 },
    },
    {
      joining: {
        linkKey: undefined,
        masterKey: undefined,
        acceptsClearKey: true,
        requestsLinkKey: false,
        authenticationUs: 60_000_000,
      },
      centre: {
        model: "centralized",
        mode: "residential",
        preconfigured: { kind: "none" },
        masterKeys: new Map(),
        allowed: undefined,
        unsecuredRejoin: "any-key",
        oneJoinForEachKey: false,
        issuesLinkKeys: false,
        authenticationUs: 60_000_000,
        devicesMax: 64,
      },
    },
  );
}

/** @see thesis 6.6 No protection from DoS attacks */
export const disassociation: Attack = {
  id: "disassociation",
  title: "Devices are told to leave by commands that anybody can send",
  thesis: "6.6 No protection from DoS attacks",
  scenario: room,
  weak: { stack: { obeysDisassociation: true } },
  defended: { stack: { obeysDisassociation: false } },
  defence: "disassociation by the MAC is ignored: Zigbee leaves by protected commands",
  harm: lostMessages,
  rules: ["ZB-DISASSOCIATION"],
  begin(simulation) {
    const attacker = new Attacker(simulation, near);
    attacker.listenFrom(attackSeconds - 20);
    const command = commander(attacker);
    attacker.every(
      attackSeconds + 5,
      () => 10_000_000,
      () => {
        const coordinator = attacker.devices.get(0);
        if (coordinator === undefined) return;
        for (const { short, address } of attacker.devices.values()) {
          if (short === 0) continue;
          command(encodeDisassociation(1), coordinator.address, short);
          command(encodeDisassociation(2), address, 0);
        }
      },
    );
    return () => lootOf(attacker);
  },
};

/** @see thesis 6.6 Trap networks; KillerBee's zbrealign and zborphannotify */
export const realignment: Attack = {
  id: "realignment",
  title: "Devices are told that their network has moved; orphans are invented",
  thesis: "6.6 Trap networks",
  scenario: room,
  weak: { stack: { obeysRealignment: true } },
  defended: { stack: { obeysRealignment: false } },
  defence: "a realignment that was not asked for is ignored",
  harm: lostMessages,
  rules: ["ZB-REALIGNMENT"],
  begin(simulation) {
    const attacker = new Attacker(simulation, near);
    attacker.listenFrom(attackSeconds - 20);
    const command = commander(attacker);
    attacker.every(
      attackSeconds + 5,
      () => 20_000_000,
      () => {
        const coordinator = attacker.devices.get(0);
        if (coordinator === undefined) return;
        const moved = encodeRealignment({
          pan: 0x6666,
          coordinator: 0,
          channel: 26,
          shortAddress: 0xffff,
        });
        command(moved, coordinator.address, 0xffff, { to: 0xffff });
        command(Uint8Array.of(MacCommandId.orphanNotification), inventedAddress(attacker), 0xffff, {
          from: 0xffff,
          to: 0xffff,
        });
      },
    );
    return () => lootOf(attacker);
  },
};

/** @see thesis 6.6 No protection from DoS attacks; KillerBee's zbpanidconflictflood */
export const panConflict: Attack = {
  id: "pan-conflict",
  title: "Beacons of another network with our PAN id make the network move again and again",
  thesis: "6.6 No protection from DoS attacks",
  scenario: building,
  weak: { stack: { panConflictHoldUs: 0 } },
  defended: { stack: { panConflictHoldUs: 3_600_000_000 } },
  defence: "the PAN id changes at most once an hour",
  harm: { name: "changes of the PAN id", of: ({ other }) => other, unit: "" },
  rules: ["ZB-TRAP-NETWORK", "ZB-PAN-CONFLICT"],
  begin(simulation) {
    const attacker = new Attacker(simulation, { x: 40, y: 30 }, { powerDbm: 8 });
    attacker.listenFrom(attackSeconds - 20);
    let sequence = 0;
    attacker.every(
      attackSeconds + 5,
      () => 4_000_000,
      () => {
        const payload = encodeBeaconPayload({
          associationPermit: false,
          panCoordinator: true,
          stackProfile: 2,
          deviceDepth: 0,
          routerCapacity: true,
          endDeviceCapacity: true,
          extendedPan: eui64At(Uint8Array.of(7, 7, 7, 7, 7, 7, 7, 7), 0),
          updateId: 0,
        });
        const source = { pan: attacker.pan, address: 0 };
        const header = { frameType: MacFrameType.beacon, sequence: sequence++ & 0xff, source };
        attacker.sendPolitely(encodeMacFrame(header, payload));
      },
    );
    const { conflicts } = simulation.coordinator.membership;
    return () => lootOf(attacker, conflicts.moves);
  },
};
