import { eui64At } from "@postern/zigbee/eui64";
import { encodeAcknowledgment } from "@postern/zigbee/mac/encode-mac-frame";
import { decodeMacFrame, MacFrameType } from "@postern/zigbee/mac/mac-frame";
import { MacCommandId } from "@postern/zigbee/mac/mac-command";
import { createAesKey } from "@postern/zigbee/security/aes";

import { meanMicroamperes } from "../radio/energy.ts";
import { byteUs, frameUs, turnaroundUs } from "../radio/timing.ts";
import { type Attack, type Outcome } from "./attack.ts";
import { Attacker } from "./attacker.ts";
import { attackSeconds, building, lootOf, room } from "./base.ts";
import { bogusFrame, forgedBroadcast, renumbered } from "./forge.ts";

const unlimited = Number.MAX_SAFE_INTEGER;
const lostMessages = {
  name: "messages lost",
  of: ({ delivery }: Outcome) => 100 * (1 - delivery),
  unit: "%",
} as const;

/** Keeps one sleeping device awake with frames that it must look at and reject. @see thesis 6.6 Ghost Attack */
export const ghost: Attack = {
  id: "ghost",
  title: "A sleeping device is kept awake with frames that it must reject",
  thesis: "6.6 Ghost Attack",
  scenario: room,
  weak: { stack: { rejectedMax: unlimited } },
  defended: { stack: { rejectedMax: 3 } },
  defence: "after three rejected frames the device sleeps on and polls less for a minute",
  harm: {
    name: "mean current of the device whose battery lasts shortest, in microamperes",
    of: ({ batteryDays }) => meanMicroamperes(batteryDays),
    unit: "",
  },
  rules: ["ZB-GHOST"],
  begin(simulation) {
    const victim = simulation.device("thermometer-1");
    const { x, y } = victim.plan;
    const attacker = new Attacker(simulation, { x: x + 1, y });
    attacker.listenFrom(attackSeconds);
    let counter = 100_000;
    attacker.onDissected = ({ mac, frame, macPayload, macPayloadStart }) => {
      const isPoll =
        mac.frameType === MacFrameType.command &&
        macPayload[macPayloadStart] === MacCommandId.dataRequest &&
        mac.sourceShort === victim.place.short;
      const parent = attacker.devices.get(0);
      if (!isPoll || parent === undefined) return;
      const acknowledgment = encodeAcknowledgment(frame.bytes[2] ?? 0, true);
      const bogus = bogusFrame(
        {
          pan: attacker.pan,
          destination: victim.place.short,
          source: 0,
          sourceAddress: parent.address,
          macSequence: counter & 0xff,
          frameCounter: counter++,
        },
        attacker.random.bytes(80),
        { framePending: true, keySequence: victim.networkKeys.active?.sequence ?? 0 },
      );
      // As the parent would, but nearer, so that the victim hears this one.
      attacker.queue.after(turnaroundUs, () =>
        attacker.send(acknowledgment, () => attacker.queue.after(1_000, () => attacker.send(bogus))),
      );
    };
    return () => lootOf(attacker);
  },
};

/** Answers in the place of a receiver that does not hear. @see thesis 6.6, what it calls Association Flooding */
export const forgedAcknowledgments: Attack = {
  id: "forged-acknowledgements",
  title: "Messages are swallowed, and their sender is told that they arrived",
  thesis: "6.6 Association Flooding (forged acknowledgements)",
  // Near the victim, where a sniffer hears by its strength who acknowledges.
  scenario: { ...room, sniffer: { x: 10, y: 3 } },
  weak: { stack: { apsAcknowledgments: false } },
  defended: { stack: { apsAcknowledgments: true } },
  defence: "messages are confirmed from end to end, under an integrity code",
  harm: {
    name: "messages that seem to have arrived and did not",
    of: ({ deceived, messages }) => (100 * deceived) / messages,
    unit: "%",
  },
  rules: ["ZB-ACK-FORGED"],
  begin(simulation) {
    const victim = simulation.device("thermometer-1");
    const { x, y } = victim.plan;
    const attacker = new Attacker(simulation, { x: x + 1, y: y + 1 });
    const { coordinator, medium, scenario } = simulation;
    const place = { x: coordinator.plan.x + 1, y: coordinator.plan.y };
    attacker.listenFrom(attackSeconds);
    let swallowed = 0;
    medium.onBegin = ({ bytes, sender, startUs, endUs }) => {
      if (bytes === undefined || sender === attacker.radio.name) return;
      if (startUs < attackSeconds * 1e6 || bytes.length < 20) return;
      const headerUs = frameUs(bytes.length) - (bytes.length - 9) * byteUs;
      const mac = decodeMacFrame(bytes);
      const isTarget =
        mac.frameType === MacFrameType.data &&
        mac.destinationShort === 0 &&
        mac.sourceShort === victim.place.short;
      if (!isTarget) return;
      // The header is over: a little noise beside the receiver spoils the rest, there and nowhere else.
      simulation.queue.after(headerUs, () =>
        medium.noise({
          place,
          powerDbm: -8,
          channel: scenario.channel,
          durationUs: Math.max(1, endUs - simulation.queue.nowUs),
          sender: "attacker at the receiver",
        }),
      );
      const answerUs = endUs + turnaroundUs;
      swallowed++;
      simulation.queue.at(answerUs, () => attacker.send(encodeAcknowledgment(bytes[2] ?? 0, false)));
    };
    return () => lootOf(attacker, swallowed);
  },
};

/** Frames that were recorded, sent again as fast as they go. @see thesis 6.6 Flooding */
export const flooding: Attack = {
  id: "flooding",
  title: "The channel is filled with frames that were recorded",
  thesis: "6.6 Flooding",
  scenario: room,
  weak: { stack: { movesChannel: false } },
  defended: { stack: { movesChannel: true } },
  defence: "the network moves to another channel when its own is unusable",
  harm: lostMessages,
  rules: ["ZB-REPLAY"],
  begin(simulation) {
    const attacker = new Attacker(simulation, { x: 4, y: -3 }, { powerDbm: 8 });
    attacker.listenFrom(attackSeconds - 20);
    const recorded: Uint8Array[] = [];
    attacker.onDissected = ({ nwk, frame }) => {
      if (nwk?.security === true && recorded.length < 20) recorded.push(frame.bytes.slice());
    };
    let sequence = 0;
    attacker.every(
      attackSeconds,
      () => 3_000,
      () => {
        const frame = recorded[sequence % Math.max(1, recorded.length)];
        if (frame !== undefined) attacker.send(renumbered(frame, sequence++ & 0xff));
      },
    );
    return () => lootOf(attacker);
  },
};

/** Somebody who holds the network key broadcasts without end. @see thesis 6.6 broadcast storm attack */
export const broadcastStorm: Attack = {
  id: "broadcast-storm",
  title: "A member floods the network with broadcasts, which every router repeats",
  thesis: "6.6 Flooding (broadcast storm)",
  scenario: building,
  weak: { stack: { broadcastsEachSourceMax: unlimited, broadcastTableMax: 255 } },
  defended: { stack: { broadcastsEachSourceMax: 6, broadcastTableMax: 24 } },
  defence: "six broadcasts of one source in nine seconds are repeated, not more",
  harm: { name: "time that the channel is in use", of: ({ airtimeShare }) => 100 * airtimeShare, unit: "%" },
  rules: ["ZB-BROADCAST-STORM"],
  begin(simulation) {
    const attacker = new Attacker(simulation, { x: 30, y: 30 });
    attacker.listenFrom(attackSeconds);
    const stolen = simulation.device("contact-1");
    const sourceAddress = eui64At(attacker.random.bytes(8), 0);
    let counter = 50_000;
    attacker.every(
      attackSeconds,
      () => 40_000,
      () => {
        const { active } = stolen.networkKeys;
        if (active === undefined) return;
        if (attacker.keysLearnt === 0) attacker.steal(active.bytes, "network");
        const claimed = {
          pan: attacker.pan,
          destination: 0xfffd,
          source: 0x5105,
          sourceAddress,
          macSequence: counter & 0xff,
          frameCounter: counter++,
        };
        attacker.sendPolitely(forgedBroadcast(claimed, createAesKey(active.bytes), active.sequence));
      },
    );
    return () => lootOf(attacker);
  },
};

const jammedUntilSeconds = 130;

/** @see thesis 6.6 Physical Jamming */
export const jamming: Attack = {
  id: "jamming",
  title: "Noise makes the channel unusable",
  thesis: "6.6 Physical Jamming",
  scenario: { ...room, seconds: 180, sniffer: { x: 2, y: 2 } },
  weak: { stack: { movesChannel: false } },
  defended: { stack: { movesChannel: true } },
  defence: "the network moves to another channel, and devices look for it there",
  harm: lostMessages,
  rules: ["ZB-JAMMING"],
  begin(simulation) {
    const attacker = new Attacker(simulation, { x: 3, y: 0 }, { powerDbm: 15 });
    const { medium, scenario } = simulation;
    attacker.note("begins to jam");
    attacker.every(
      attackSeconds,
      () => 10_000,
      () => {
        if (simulation.queue.nowUs > jammedUntilSeconds * 1e6) return false;
        const { place, powerDbm, name: sender } = attacker.radio;
        medium.noise({ place, powerDbm, channel: scenario.channel, durationUs: 9_400, sender });
        return true;
      },
    );
    return () => lootOf(attacker);
  },
};
