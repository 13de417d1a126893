import { AssociationStatus, encodeAssociationRequest } from "@postern/zigbee/mac/encode-mac-payload";
import { encodeAcknowledgment, encodeMacFrame } from "@postern/zigbee/mac/encode-mac-frame";
import { decodeMacCommand, MacCommandId } from "@postern/zigbee/mac/mac-command";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";
import { encodeRejoinRequest } from "@postern/zigbee/nwk/encode-nwk-command";
import { encodeNwkHeader } from "@postern/zigbee/nwk/encode-nwk-frame";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";
import { joined } from "@postern/zigbee/security/mmo-hash";

import { turnaroundUs } from "../radio/timing.ts";
import { type Attack, type Outcome } from "./attack.ts";
import { Attacker } from "./attacker.ts";
import { attackSeconds, lootOf, room } from "./base.ts";
import { forgedToggle } from "./forge.ts";

const victimName = "thermometer-1";
const near = { x: 5, y: 5 };

const readFrames = {
  name: "data frames that the attacker reads",
  of: ({ readShare }: Outcome) => 100 * readShare,
  unit: "%",
} as const;

/** A device is opened and its memory read. @see thesis 6.6 Key storage */
export const keyExtraction: Attack = {
  id: "key-extraction",
  title: "Keys are read out of a stolen device",
  thesis: "6.6 Key storage",
  scenario: {
    ...room,
    nodes: room.nodes.map((node) =>
      node.name === victimName ? { ...node, stopSeconds: attackSeconds + 0.1 } : node,
    ),
  },
  weak: {},
  defended: { stack: { apsEncryption: true }, security: { keyUpdateSeconds: attackSeconds + 10 } },
  defence: "messages under link keys as well; the network key is replaced without the stolen device",
  harm: readFrames,
  rules: ["ZB-IDENTITY"],
  begin(simulation) {
    const attacker = new Attacker(simulation, near);
    attacker.listenFrom(attackSeconds);
    const victim = simulation.device(victimName);
    let counter = 5_000;
    simulation.queue.after(attackSeconds * 1_000_000, () => {
      const { active } = victim.networkKeys;
      if (active !== undefined) attacker.steal(active.bytes, "network");
      if (victim.joiner.linkKey !== undefined) attacker.steal(victim.joiner.linkKey, "link");
      attacker.note(`has read the keys of ${victimName}`);
      // Its owner misses the device: it gets no new key.
      simulation.coordinator.trustCentre?.forget(victim.address);
    });
    attacker.every(
      attackSeconds + 5,
      () => 4_000_000,
      () => {
        const lamp = simulation.device("lamp-3").place.short;
        const key = attacker.keyring.keys("network").find(({ origin }) => origin.kind === "given");
        if (key === undefined) return;
        const { pan } = attacker;
        const claimed = {
          pan,
          destination: lamp,
          source: 0,
          sourceAddress: victim.address,
          macSequence: counter & 0xff,
          frameCounter: counter++,
        };
        attacker.sendPolitely(forgedToggle(claimed, key.reveal(), 0));
      },
    );
    return () => lootOf(attacker);
  },
};

/** @see thesis 6.6 Key transportation */
export const keyInClear: Attack = {
  id: "key-in-clear",
  title: "The network key is sent in clear to whoever joins",
  thesis: "6.6 Key transportation",
  scenario: room,
  weak: { security: { mode: "residential", linkKeys: "none", onlyAllowed: false, issuesLinkKeys: false } },
  defended: { security: { mode: "commercial", linkKeys: "install-code" } },
  defence: "commercial mode with install codes",
  harm: readFrames,
  rules: ["ZB-KEY-CLEAR"],
  begin(simulation) {
    const attacker = new Attacker(simulation, near);
    attacker.listenFrom(0);
    return () => lootOf(attacker);
  },
};

/** @see thesis 6.6 Manufacturer-defined Link Keys */
export const wellKnownKey: Attack = {
  id: "well-known-link-key",
  title: "Devices join under a link key that everybody knows",
  thesis: "6.6 Manufacturer-defined Link Keys",
  scenario: room,
  weak: { security: { linkKeys: "well-known" } },
  defended: { security: { linkKeys: "install-code" } },
  defence: "install codes",
  harm: readFrames,
  rules: ["ZB-KEY-KNOWN-LINK"],
  begin(simulation) {
    const attacker = new Attacker(simulation, near);
    attacker.listenFrom(0);
    return () => lootOf(attacker);
  },
};

/** Somebody has copied the install code of a device and joins in its name. @see thesis 6.6 No key re-using control */
export const keyReuse: Attack = {
  id: "key-reuse",
  title: "A link key that was used before lets somebody else join",
  thesis: "6.6 No key re-using control",
  scenario: { ...room, security: { ...room.security, permitSeconds: 140 } },
  weak: { security: { oneJoinForEachKey: false } },
  defended: { security: { oneJoinForEachKey: true } },
  defence: "a pre-configured key is worth one join",
  harm: readFrames,
  rules: ["ZB-LINK-KEY-REUSED"],
  begin(simulation) {
    const attacker = new Attacker(simulation, near);
    const { address, linkKey } = {
      ...simulation.device(victimName).plan,
      ...simulation.device(victimName).joiner.policy,
    };
    if (linkKey !== undefined) attacker.steal(linkKey, "link");
    attacker.listenFrom(attackSeconds);
    let sequence = 0;
    const ask = (payload: Uint8Array, source: number | typeof address, sourcePan: number): void => {
      const { pan } = attacker;
      attacker.sendPolitely(
        encodeMacFrame(
          {
            frameType: MacFrameType.command,
            sequence: (sequence = (sequence + 1) & 0xff),
            acknowledgmentRequest: true,
            destination: { pan, address: 0 },
            source: { pan: sourcePan, address: source },
          },
          payload,
        ),
      );
    };
    const poll = Uint8Array.of(MacCommandId.dataRequest);
    attacker.onDissected = ({ mac, frame, macPayload, macPayloadStart, macPayloadEnd }) => {
      const forUs = mac.destination === address;
      if (!forUs || mac.frameType !== MacFrameType.command) return;
      attacker.queue.after(turnaroundUs, () =>
        attacker.send(encodeAcknowledgment(frame.bytes[2] ?? 0, false)),
      );
      const command = decodeMacCommand(macPayload, macPayloadStart, macPayloadEnd);
      if (command.id !== MacCommandId.associationResponse || command.status !== AssociationStatus.success)
        return;
      attacker.note(`has joined as ${victimName}`);
      for (let delay = 1; delay <= 6; delay++) {
        attacker.queue.after(delay * 100_000, () => ask(poll, command.shortAddress, attacker.pan));
      }
    };
    attacker.every(
      attackSeconds + 5,
      () => 30_000_000,
      () => {
        ask(encodeAssociationRequest(0x80), address, 0xffff);
        attacker.queue.after(200_000, () => ask(poll, address, attacker.pan));
      },
    );
    return () => lootOf(attacker);
  },
};

/** Asks in the name of a member for the network key, as if it had been forgotten. @see thesis 6.6 */
export const unsecuredRejoin: Attack = {
  id: "unsecured-rejoin",
  title: "The network key is asked for by an unsecured rejoin",
  thesis: "6.6 Key transportation",
  scenario: room,
  weak: {
    security: { linkKeys: "well-known", issuesLinkKeys: false, unsecuredRejoin: "any-key" },
  },
  defended: { security: { issuesLinkKeys: true, unsecuredRejoin: "own-key" } },
  defence: "each device gets a link key of its own, and the key goes out under that only",
  harm: readFrames,
  rules: ["ZB-REJOIN-UNSECURED"],
  begin(simulation) {
    const attacker = new Attacker(simulation, near);
    attacker.listenFrom(attackSeconds);
    let sequence = 0x40;
    attacker.every(
      attackSeconds + 15,
      () => 20_000_000,
      () => {
        const victim = [...attacker.devices.values()].find(({ short }) => short !== 0);
        if (victim === undefined) return;
        const { pan } = attacker;
        const header = encodeNwkHeader({
          frameType: NwkFrameType.command,
          destination: 0,
          source: victim.short,
          radius: 1,
          sequence: (sequence = (sequence + 1) & 0xff),
          security: false,
          sourceExtended: victim.address,
        });
        attacker.note(`asks for the network key in the name of ${victim.address}`);
        attacker.sendPolitely(
          encodeMacFrame(
            {
              frameType: MacFrameType.data,
              sequence,
              acknowledgmentRequest: true,
              destination: { pan, address: 0 },
              source: { pan, address: victim.short },
            },
            joined(header, encodeRejoinRequest(0x8c)),
          ),
        );
      },
    );
    return () => lootOf(attacker);
  },
};
