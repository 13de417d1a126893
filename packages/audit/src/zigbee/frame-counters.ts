import { type Dissection } from "@postern/zigbee/dissection";
import { uint32At } from "@postern/zigbee/cursor";
import { type Eui64 } from "@postern/zigbee/eui64";
import { type ZigbeeKey } from "@postern/zigbee/keyring";

import { type Confidence, type Evidence } from "../finding.ts";
import { type AuditContext, broadcastAddresses, type Detector, networkName, setBounded } from "./context.ts";
import { type Sent, SentFrames, SlotBudget } from "./sent-frames.ts";
import { airtimeUs } from "./survey.ts";

const sendersMax = 4_096;
/** Networks and keys of one sender that are followed: the present one and some before. */
const keysMax = 6;
/** A sender may overtake itself by so much: frames for sleeping devices wait at their parent. */
const reorderMax = 32;
/** Frames in a row that count on from a lower value, so that it was a restart. */
const restartFrames = 3;
/** A MAC sends a frame again within this time, or never. */
const retransmissionUsMax = 1_000_000;
/** Time that a sender waits for an acknowledgement before it sends again: 54 symbols. @see IEEE 802.15.4-2006 §7.4.2 */
const acknowledgmentWaitUs = 864;
/** A frame recorded twice by the sniffer comes sooner than any radio can send it again. */
const recordedTwiceUs = 300;
/** How far apart the clocks of two sniffers may be, whose captures were put together. */
const clocksApartUs = 5_000_000;
/** Part of the frames that stand twice in a capture of two sniffers, and how often one does, at most. */
const twiceShare = 0.1;
const twiceFramesMin = 10;
const againMax = 2;
/** Repetitions that are kept until it is known whether there were two sniffers. */
const heldMax = 10_000;
/** Counters from here on leave a device a few minutes until it may not send any more. */
const lastCounters = 0xffff_ff00;
const jumpMax = 2 ** 31;

interface Fall {
  readonly from: number;
  readonly to: number;
  readonly frame: number;
  readonly evidence: Evidence;
  last: number;
  followers: number;
}

/** A frame that came again, sooner or later than its sender would send it again. */
interface Repetition {
  readonly subject: string;
  readonly confidence: Confidence;
  readonly evidence: Evidence;
}

/** What is known of the counter of one sender under one key. */
interface Counter {
  readonly pan: number;
  readonly keySequence: number;
  key: ZigbeeKey | undefined;
  max: number;
  /** When the frame with that value was recorded. */
  maxUs: number;
  fall: Fall | undefined;
  readonly sent: SentFrames;
}

/**
 * Follows the frame counters of all senders and tells apart what looks alike: a retransmission by the MAC, a replay, a counter that
 * began anew, one that went back, one that was set to its end. @see thesis 6.5, 6.6; Zigbee §4.3.1.2
 */
export class FrameCounterDetector implements Detector {
  readonly #context: AuditContext;
  readonly #senders = new Map<Eui64, Counter[]>();
  readonly #budget = new SlotBudget();
  /** What a second sniffer would have recorded as well, or somebody sent again: the end of the capture tells. */
  #held: Repetition[] = [];
  /** How often each frame of `#held` came again, by its number. */
  readonly #again = new Map<number, number>();
  #frames = 0;

  constructor(context: AuditContext) {
    this.#context = context;
  }

  see(dissection: Dissection, pan: number): void {
    const auxiliary = dissection.nwk?.auxiliary;
    if (auxiliary?.source === undefined) return;
    // Where the key is known, a frame that it does not open was not sent by whom it names.
    const isForged =
      dissection.nwkProtection === "unopened" && this.#context.facts.isOpened(pan, auxiliary.keySequence);
    const counter = this.#counter(auxiliary.source, pan, auxiliary.keySequence);
    if (dissection.nwkKey !== undefined && counter.key !== dissection.nwkKey) {
      // Another key under the same sequence number: the network was formed anew.
      if (counter.key !== undefined) {
        counter.max = -1;
        counter.sent.clear();
        counter.fall = undefined;
      }
      counter.key = dissection.nwkKey;
    }
    const value = auxiliary.frameCounter;
    this.#seeMaximum(dissection, counter, value, isForged);
    if (isForged) return;
    this.#follow(dissection, counter, value, auxiliary.source);
  }

  finish(): void {
    this.#judgeRepetitions();
    for (const [sender, counters] of this.#senders) {
      for (const counter of counters) this.#reportRegression(counter, sender);
    }
  }

  #counter(sender: Eui64, pan: number, keySequence: number): Counter {
    let counters = this.#senders.get(sender);
    if (counters === undefined) {
      counters = [];
      setBounded(this.#senders, sender, counters, sendersMax);
    }
    for (const counter of counters) {
      if (counter.pan === pan && counter.keySequence === keySequence) return counter;
    }
    if (counters.length >= keysMax) counters.shift();
    const added: Counter = {
      pan,
      keySequence,
      key: undefined,
      max: -1,
      maxUs: 0,
      fall: undefined,
      sent: new SentFrames(this.#budget),
    };
    counters.push(added);
    return added;
  }

  #seeMaximum(dissection: Dissection, counter: Counter, value: number, isForged: boolean): void {
    const jumped = counter.max >= 0 && value - counter.max >= jumpMax;
    if (value < lastCounters && !jumped) return;
    const sender = dissection.nwk?.auxiliary?.source ?? "";
    this.#context.add("ZB-COUNTER-MAX", subjectOf(sender, counter.pan), dissection, {
      confidence: isForged || dissection.nwkProtection === "unopened" ? "probable" : "certain",
      summary: `the counter went from ${counter.max < 0 ? "nothing" : counter.max} to ${value}`,
      fields: {
        source: sender,
        frameCounter: value,
        previous: counter.max < 0 ? undefined : counter.max,
        integrityCode: dissection.nwkProtection === "opened" ? "right" : isForged ? "wrong" : "key unknown",
      },
    });
  }

  #follow(dissection: Dissection, counter: Counter, value: number, sender: Eui64): void {
    const { nwk, frame, mac } = dissection;
    const end = nwk?.payloadEnd ?? 0;
    const sent: Sent = {
      frame: frame.number,
      timeUs: frame.timeUs,
      macSequence: mac.sequence,
      bytes: end - (nwk?.start ?? 0),
      mic: uint32At(dissection.macPayload, end - 4),
    };
    const before = counter.sent.get(value);
    if (before !== undefined) {
      if (before.bytes === sent.bytes && before.mic === sent.mic) {
        this.#seeAgain(dissection, counter, before, sent, sender);
        return;
      }
      this.#context.add("ZB-NONCE-REUSE", subjectOf(sender, counter.pan), dissection, {
        confidence: dissection.nwkProtection === "opened" ? "certain" : "possible",
        summary: (count) =>
          `${count} ${count === 1 ? "frame has" : "frames have"} a counter that another frame had`,
        fields: { source: sender, frameCounter: value, otherFrame: before.frame },
      });
    }
    counter.sent.set(value, sent);
    this.#frames++;
    if (value > counter.max) {
      if (counter.fall !== undefined) this.#reportRegression(counter, sender);
      counter.max = value;
      counter.maxUs = frame.timeUs;
      return;
    }
    // Captures that were put together out of order: it was recorded before the one with the higher value.
    if (frame.timeUs < counter.maxUs && this.#context.facts.hasTimeBase) return;
    this.#seeLower(dissection, counter, value, sender);
  }

  /** The same frame of the same sender came again. */
  #seeAgain(dissection: Dissection, counter: Counter, before: Sent, sent: Sent, sender: Eui64): void {
    const { facts } = this.#context;
    const gapUs = Math.abs(sent.timeUs - before.timeUs);
    const sameSequence = before.macSequence === sent.macSequence;
    if (facts.hasPreciseTimes && gapUs < recordedTwiceUs) return;
    const tooSoon = facts.hasPreciseTimes && gapUs < airtimeUs(dissection.frame.bytes) + acknowledgmentWaitUs;
    const tooLate = facts.hasTimeBase && gapUs > retransmissionUsMax;
    if (sameSequence && !tooSoon && !tooLate) return;
    const isBroadcast = (dissection.nwk?.destinationShort ?? 0) >= broadcastAddresses;
    const why = !sameSequence
      ? "with another MAC sequence number"
      : tooLate
        ? "later than a MAC sends again"
        : "sooner than a MAC sends again";
    const repetition: Repetition = {
      subject: subjectOf(sender, counter.pan),
      // Some stacks repeat a broadcast as it was, with a new MAC sequence number.
      confidence: (sameSequence && tooSoon) || isBroadcast ? "possible" : "probable",
      evidence: this.#context.evidence(dissection, {
        source: sender,
        frameCounter: dissection.nwk?.auxiliary?.frameCounter,
        firstFrame: before.frame,
        gapUs: facts.hasTimeBase ? Math.round(gapUs) : undefined,
        macSequence: sent.macSequence,
        firstMacSequence: before.macSequence,
        why,
      }),
    };
    if (!sameSequence || gapUs > clocksApartUs || this.#held.length >= heldMax) {
      this.#reportRepetition(repetition);
      return;
    }
    this.#held.push(repetition);
    this.#again.set(before.frame, (this.#again.get(before.frame) ?? 0) + 1);
  }

  /**
   * Two sniffers record much of a network twice, each frame once more, as far apart as their clocks. Somebody who sends again does so
   * with few frames, or often.
   */
  #judgeRepetitions(): void {
    const times = [...this.#again.values()];
    const isTwice =
      times.length >= Math.max(twiceFramesMin, twiceShare * this.#frames) &&
      times.filter((count) => count > againMax).length < times.length / 10;
    if (isTwice) {
      this.#context.notes.push(
        `${this.#held.length} frames stand in the capture a second time, as where the captures of several sniffers were put together: they were not taken for replays.`,
      );
    } else {
      for (const repetition of this.#held) this.#reportRepetition(repetition);
    }
    this.#held = [];
  }

  #reportRepetition({ subject, confidence, evidence }: Repetition): void {
    this.#context.addEvidence("ZB-REPLAY", subject, evidence, {
      confidence,
      summary: (count) => `${count} ${count === 1 ? "frame was" : "frames were"} sent again`,
    });
  }

  #seeLower(dissection: Dissection, counter: Counter, value: number, sender: Eui64): void {
    const { fall } = counter;
    if (fall !== undefined && value > fall.last) {
      fall.last = value;
      if (++fall.followers >= restartFrames) this.#reportRestart(counter, fall, sender);
      return;
    }
    if (fall !== undefined && fall.last - value <= reorderMax) return;
    if (fall === undefined && counter.max - value <= reorderMax && value !== 0) return;
    this.#reportRegression(counter, sender);
    const from = fall?.last ?? counter.max;
    const evidence = this.#context.evidence(dissection, {
      source: sender,
      frameCounter: value,
      previous: from,
    });
    counter.fall = { from, to: value, frame: dissection.frame.number, evidence, last: value, followers: 0 };
  }

  #reportRestart(counter: Counter, fall: Fall, sender: Eui64): void {
    this.#context.collector.add("ZB-COUNTER-RESTART", subjectOf(sender, counter.pan), fall.frame, {
      confidence: counter.key === undefined ? "probable" : "certain",
      summary: `the counter fell from ${fall.from} to ${fall.to} and counted on from there, under key sequence ${counter.keySequence}`,
      evidence: () => fall.evidence,
    });
    counter.max = fall.last;
    counter.fall = undefined;
  }

  /** What did not turn out to be a restart. */
  #reportRegression(counter: Counter, sender: Eui64): void {
    const { fall } = counter;
    if (fall === undefined) return;
    counter.fall = undefined;
    this.#context.collector.add("ZB-COUNTER-REGRESSION", subjectOf(sender, counter.pan), fall.frame, {
      confidence: counter.key === undefined ? "possible" : "probable",
      summary: (count) =>
        `${count} ${count === 1 ? "frame has" : "frames have"} a counter that is lower than one before`,
      evidence: () => fall.evidence,
    });
  }
}

function subjectOf(sender: string, pan: number): string {
  return `device ${sender} in ${networkName(pan)}`;
}
