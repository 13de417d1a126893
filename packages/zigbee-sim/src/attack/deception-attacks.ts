import { counterEnd } from "@postern/zigbee/key-life/frame-counters";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";

import { type Attack } from "./attack.ts";
import { Attacker } from "./attacker.ts";
import { attackSeconds, lootOf, room } from "./base.ts";
import { bogusFrame, renumbered } from "./forge.ts";
import { TrafficAnalyst } from "./traffic-analyst.ts";

/** Where frames have no integrity code, one forged frame locks its pretended sender out. @see thesis 6.6 */
export const maximumCounter: Attack = {
  id: "maximum-counter",
  title: "Forged frames set the counters of devices to their end",
  thesis: "6.6 Set the frame counter to its maximum value",
  scenario: room,
  weak: { stack: { securityLevel: 4, counterJumpMax: 2 ** 32 } },
  defended: { stack: { securityLevel: 5, counterJumpMax: 2 ** 24 } },
  defence: "an integrity code (level 5), checked before a counter is believed, and a limit to jumps",
  harm: { name: "messages lost", of: ({ delivery }) => 100 * (1 - delivery), unit: "%" },
  rules: ["ZB-COUNTER-MAX"],
  begin(simulation) {
    const attacker = new Attacker(simulation, { x: 3, y: 3 });
    attacker.listenFrom(attackSeconds);
    let sequence = 0;
    attacker.every(
      attackSeconds + 10,
      () => 5_000_000,
      () => {
        for (const { short, address } of attacker.devices.values()) {
          for (const destination of short === 0 ? attacker.devices.keys() : [0]) {
            if (destination === short) continue;
            const claimed = {
              pan: attacker.pan,
              destination,
              source: short,
              sourceAddress: address,
              macSequence: sequence++ & 0xff,
              frameCounter: counterEnd,
            };
            const noise = attacker.random.bytes(20);
            attacker.sendPolitely(bogusFrame(claimed, noise, { framePending: false, keySequence: 0 }));
          }
        }
      },
    );
    return () => lootOf(attacker);
  },
};

/** @see thesis 6.5 Replay Attacks Protection */
export const replay: Attack = {
  id: "replay",
  title: "Recorded messages are sent again",
  thesis: "6.5 Replay Attacks Protection",
  scenario: room,
  weak: { stack: { checksFreshness: false } },
  defended: { stack: { checksFreshness: true } },
  defence: "frame counters are checked",
  harm: { name: "messages taken a second time", of: ({ replayedAccepted }) => replayedAccepted, unit: "" },
  rules: ["ZB-REPLAY"],
  begin(simulation) {
    const attacker = new Attacker(simulation, { x: 3, y: 3 });
    attacker.listenFrom(attackSeconds);
    let sequence = 0;
    attacker.onDissected = ({ nwk, mac, frame }) => {
      const isWorth = nwk?.frameType === NwkFrameType.data && nwk.security && mac.destinationShort !== 0xffff;
      if (!isWorth || attacker.random.below(4) !== 0) return;
      const again = renumbered(frame.bytes, sequence++ & 0xff);
      attacker.queue.after(3_000_000, () => attacker.sendPolitely(again));
    };
    return () => lootOf(attacker);
  },
};

/** Learns from lengths and times alone when a door is opened. @see thesis 6.6 Statistical attacks */
export const statistics: Attack = {
  id: "traffic-analysis",
  title: "Lengths and times of frames tell when a door is opened",
  thesis: "6.6 Statistical attacks",
  scenario: { ...room, seconds: 240 },
  weak: { stack: { hidesTraffic: false } },
  defended: { stack: { hidesTraffic: true } },
  defence: "messages of one length, at fixed times, whether there is anything to say or not",
  harm: { name: "events that the attacker knows of (F1)", of: ({ other }) => 100 * other, unit: "%" },
  rules: [],
  begin(simulation) {
    const attacker = new Attacker(simulation, { x: 3, y: 3 });
    attacker.listenFrom(attackSeconds);
    const analyst = new TrafficAnalyst();
    attacker.onDissected = (dissection) => analyst.see(dissection);
    return () => {
      const events = simulation.truth.messages
        .filter(({ source, sentUs }) => source.startsWith("contact") && sentUs > attackSeconds * 1e6)
        .map(({ sentUs }) => sentUs);
      return lootOf(attacker, analyst.score(events));
    };
  },
};
