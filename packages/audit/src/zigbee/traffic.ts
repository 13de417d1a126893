import { type Dissection } from "@postern/zigbee/dissection";

import { type Evidence } from "../finding.ts";
import { type AuditContext, broadcastAddresses, type Detector, networkName, setBounded } from "./context.ts";
import { SlidingWindow } from "./sliding-window.ts";

/** Time that a router remembers a broadcast. @see Zigbee §3.6.5 nwkBroadcastDeliveryTime */
const broadcastWindowUs = 9_000_000;
/** Different broadcasts of one device within that time that no application needs. */
const broadcastsMin = 60;
const sendersMax = 10_000;

/** Looks for floods of broadcasts. @see thesis 6.6 Flooding */
export class BroadcastDetector implements Detector {
  readonly #context: AuditContext;
  readonly #senders = new Map<number, SlidingWindow<number>>();

  constructor(context: AuditContext) {
    this.#context = context;
  }

  see(dissection: Dissection, pan: number): void {
    const { nwk, frame } = dissection;
    if (nwk === undefined || nwk.destinationShort < broadcastAddresses) return;
    // Link status travels one hop and is nobody's flood.
    if (nwk.radius <= 1 || !this.#context.facts.hasTimeBase) return;
    const sender = pan * 0x10000 + nwk.sourceShort;
    const window = this.#senders.get(sender) ?? new SlidingWindow<number>(broadcastWindowUs);
    setBounded(this.#senders, sender, window, sendersMax);
    window.add(frame.timeUs, nwk.sequence);
    if (window.size < broadcastsMin) return;
    const different = new Set(window.values()).size;
    if (different < broadcastsMin) return;
    const device = this.#context.deviceName(pan, nwk.sourceShort);
    this.#context.add("ZB-BROADCAST-STORM", `device ${device} in ${networkName(pan)}`, dissection, {
      confidence: "probable",
      summary: `${different} different broadcasts within nine seconds`,
      fields: { source: device, radius: nwk.radius },
    });
  }
}

/** Length of the stretches whose share of damaged frames is compared. */
const stretchUs = 10_000_000;
const stretchFramesMin = 20;
const stretchesMin = 6;
const stretchesMax = 50_000;
/** Ordinary networks lose up to a tenth of what a sniffer hears; a jammed channel nearly all. */
const ordinaryShare = 0.2;
const jammedShare = 0.6;
/** Who finds a channel occupied sends nothing: silence, where there was traffic before, for so many stretches in a row. */
const silentShare = 0.15;
const silentStretches = 3;
/** Frames of one sender that count in a stretch: the end of a long transfer between two devices is no silence. */
const senderFramesMax = 4;
const usualFramesMin = 10;
/** After so many stretches without any frame, recording had stopped. */
const pauseStretches = 60;
const usualStretches = 30;

/** Ten seconds of the channel. */
interface Stretch {
  bad: number;
  all: number;
  /** Frames that were not damaged, a few of each sender. */
  heard: number;
  worst: Evidence | undefined;
  any: Evidence | undefined;
}

/**
 * Looks for stretches in which nearly every frame is damaged, or hardly anything is sent any more, against what is usual in the same
 * capture. @see thesis 6.6
 */
export class JammingDetector implements Detector {
  readonly #context: AuditContext;
  readonly #stretches = new Map<number, Stretch>();
  /** Frames of each sender in the stretch that was seen last. */
  readonly #senders = new Map<number, number>();
  #index = Number.NaN;
  #current: Stretch = { bad: 0, all: 0, heard: 0, worst: undefined, any: undefined };

  constructor(context: AuditContext) {
    this.#context = context;
  }

  see(dissection: Dissection): void {
    const { frame } = dissection;
    const stretch = this.#stretch(Math.floor(frame.timeUs / stretchUs));
    stretch.any ??= this.#context.evidence(dissection, { frameCheck: frame.frameCheck });
    if (frame.frameCheck === "good" || frame.frameCheck === "bad") stretch.all++;
    if (frame.frameCheck === "bad") {
      stretch.bad++;
      stretch.worst ??= this.#context.evidence(dissection, { frameCheck: "wrong" });
    } else if (dissection.mac.sourceShort !== -1) {
      const sender = dissection.mac.sourcePan * 0x10000 + dissection.mac.sourceShort;
      const count = (this.#senders.get(sender) ?? 0) + 1;
      this.#senders.set(sender, count);
      if (count <= senderFramesMax) stretch.heard++;
    }
  }

  finish(): void {
    const { facts } = this.#context;
    if (!facts.hasTimeBase) return;
    this.#findSilence();
    if (facts.hasFrameChecks) this.#findDamage();
  }

  #stretch(index: number): Stretch {
    if (index === this.#index) return this.#current;
    this.#index = index;
    this.#senders.clear();
    const found = this.#stretches.get(index);
    this.#current = found ?? { bad: 0, all: 0, heard: 0, worst: undefined, any: undefined };
    if (found === undefined) setBounded(this.#stretches, index, this.#current, stretchesMax);
    return this.#current;
  }

  #findDamage(): void {
    const judged = [...this.#stretches.values()].filter(({ all }) => all >= stretchFramesMin);
    const shares = judged.map(({ bad, all }) => bad / all).toSorted((a, b) => a - b);
    const usual = shares[shares.length >> 1] ?? 1;
    if (judged.length < stretchesMin || usual > ordinaryShare) return;
    for (const { bad, all, worst } of judged) {
      if (bad / all < jammedShare || worst === undefined) continue;
      this.#context.addEvidence("ZB-JAMMING", "channel", worst, {
        confidence: "possible",
        summary: (count) =>
          `${count} ${count === 1 ? "stretch" : "stretches"} of ten seconds with more than 60 % damaged frames; usual here: ${Math.round(100 * usual)} %`,
      });
    }
  }

  /** What is usual is what the first stretches had: a jammer may stay until the end. */
  #findSilence(): void {
    let usual: number[] = [];
    let silent = 0;
    let before: Evidence | undefined;
    let last = Number.NaN;
    const look = (heard: number, evidence: Evidence | undefined): void => {
      const median = usual.toSorted((a, b) => a - b)[usual.length >> 1] ?? 0;
      const isKnown = usual.length >= silentStretches && median >= usualFramesMin;
      if (!isKnown || heard > silentShare * median) {
        silent = 0;
        usual = [...usual.slice(1 - usualStretches), heard];
        before = evidence ?? before;
        return;
      }
      silent++;
      if (silent < silentStretches || before === undefined) return;
      // There may be no frame at all to show: the last ones before stand for it.
      this.#context.addEvidence("ZB-JAMMING", "channel", before, {
        confidence: "possible",
        summary: `${silent} stretches of ten seconds in which hardly a device is heard; usual before: ${median} frames`,
      });
    };
    for (const [index, { heard, any }] of [...this.#stretches].toSorted(([a], [b]) => a - b)) {
      if (index - last > pauseStretches) {
        usual = [];
        silent = 0;
      } else {
        for (let empty = last + 1; empty < index; empty++) look(0, undefined);
      }
      look(heard, any);
      last = index;
    }
  }
}
