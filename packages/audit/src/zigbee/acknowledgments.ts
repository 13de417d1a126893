import { ApsFrameType } from "@postern/zigbee/aps/aps-frame";
import { isWhole } from "@postern/zigbee/capture/captured-frame";
import { type Dissection } from "@postern/zigbee/dissection";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";

import { type Confidence, type Evidence } from "../finding.ts";
import { type AuditContext, broadcastAddresses, networkName, setBounded } from "./context.ts";

/** An acknowledgement is on its way sooner than this after the frame began: the longest frame takes 4.3 ms. */
const answerUsMax = 7_000;
/** How far from what is usual for a device the strength of its acknowledgement has to be: so many dB, and so many standard deviations. */
const strangeDb = 8;
const strangeDeviations = 4;
const heardMin = 8;
const strangeMin = 5;
/** Frames of a device over which its mean and its spread are taken. */
const rememberedFrames = 32;
/** Acknowledgements that wait for the next frame of their device. */
const pendingMax = 64;
/** Tries of one message, each acknowledged by the MAC of its receiver, and messages of which no try was confirmed. */
const triesMin = 2;
const unconfirmedMin = 3;
const rememberedMax = 10_000;
const networksMax = 1_024;
/** `apsAckWaitDuration` and some: what came later is not waited for. */
const confirmationUsMax = 20_000_000;

/** How a device is usually heard. */
interface Strength {
  mean: number;
  variance: number;
  count: number;
  /** Acknowledgements in its name that were heard otherwise, and as usual. */
  strange: number;
  usual: number;
  /** Those heard otherwise since its last frame: they count when that of the device itself has not changed. */
  pending: Evidence[];
}

/** A message that waits for the confirmation of its receiver. */
interface Message {
  readonly sinceUs: number;
  /** Of the last try: the MAC may send each again. */
  macSequence: number;
  tries: number;
  /** Tries that were acknowledged at the last hop. */
  acknowledged: number;
  isAcknowledged: boolean;
  /** Its second try. */
  evidence: Evidence | undefined;
}

/**
 * Looks for acknowledgements that their receiver cannot have sent, by their strength, where the sniffer says it; and for messages that are
 * acknowledged at the last hop again and again and never confirmed from end to end: somebody else acknowledges them, or their receiver
 * rejects what it gets. @see thesis 6.6, forged acknowledgements
 */
export class AcknowledgmentDetector {
  readonly #context: AuditContext;
  readonly #strengths = new Map<number, Strength>();
  /** Messages without a confirmation, by network, and by sender, receiver and counter. */
  readonly #waiting = new Map<number, Map<number, Message>>();
  /** Messages of a sender that were never confirmed. */
  readonly #unconfirmed = new Map<number, Evidence[]>();
  /** The last frame, if it asked for an acknowledgement: its sequence number (-1: it did not), receiver, network, number and time. */
  #sequence = -1;
  #receiver = -1;
  #pan = -1;
  #frame = 0;
  #timeUs = 0;
  /** The message in that frame, if it waits for a confirmation. */
  #message: Message | undefined;

  constructor(context: AuditContext) {
    this.#context = context;
  }

  /** Takes every frame, acknowledgements too, which name no network. */
  see(dissection: Dissection, pan: number): void {
    const { mac, frame } = dissection;
    if (!isWhole(frame)) return;
    if (mac.frameType === MacFrameType.acknowledgment) {
      this.#seeAcknowledgment(dissection);
      return;
    }
    if (mac.sourceShort !== -1 && frame.rssi !== undefined && Number.isFinite(frame.rssi))
      this.#learn(pan, mac.sourceShort, frame.rssi);
    this.#seeConfirmation(dissection, pan);
    const asks =
      mac.acknowledgmentRequest && mac.destinationShort !== -1 && this.#context.facts.isZigbee(pan);
    this.#sequence = -1;
    this.#message = undefined;
    if (!asks) return;
    this.#sequence = mac.sequence;
    this.#receiver = mac.destinationShort;
    this.#pan = pan;
    this.#frame = frame.number;
    this.#timeUs = frame.timeUs;
    this.#seeMessage(dissection, pan);
  }

  /** Time is over for those that are not confirmed yet. */
  finish(): void {
    for (const [device, strength] of this.#strengths) {
      this.#report(Math.floor(device / 0x10000), device & 0xffff, strength, "possible");
    }
    for (const [pan, messages] of this.#waiting) {
      for (const [identity, message] of messages) this.#giveUp(pan, identity, message);
    }
  }

  #learn(pan: number, short: number, rssi: number): void {
    const device = pan * 0x10000 + short;
    const strength = this.#strengths.get(device) ?? {
      mean: rssi,
      variance: 0,
      count: 0,
      strange: 0,
      usual: 0,
      pending: [],
    };
    setBounded(this.#strengths, device, strength, rememberedMax);
    // Who is heard otherwise itself has moved, or something in its way has.
    if (isStrange(strength, rssi)) strength.pending = [];
    else this.#report(pan, short, strength, "probable");
    const weight = 1 / Math.min(++strength.count, rememberedFrames);
    const off = rssi - strength.mean;
    strength.mean += weight * off;
    strength.variance = (1 - weight) * (strength.variance + weight * off * off);
  }

  #seeAcknowledgment(dissection: Dissection): void {
    const { mac, frame } = dissection;
    const isAnswer = this.#sequence === mac.sequence && frame.timeUs - this.#timeUs <= answerUsMax;
    this.#sequence = -1;
    if (!isAnswer) return;
    if (this.#message !== undefined && !this.#message.isAcknowledged) {
      this.#message.isAcknowledged = true;
      this.#message.acknowledged++;
    }
    if (frame.rssi === undefined || !Number.isFinite(frame.rssi)) return;
    const strength = this.#strengths.get(this.#pan * 0x10000 + this.#receiver);
    if (strength === undefined || strength.count < heardMin) return;
    if (!isStrange(strength, frame.rssi)) {
      strength.usual++;
      return;
    }
    if (strength.pending.length >= pendingMax) return;
    const device = this.#context.deviceName(this.#pan, this.#receiver);
    const usual = Math.round(strength.mean);
    const fields = { receiver: device, rssi: frame.rssi, usualRssi: usual, acknowledged: this.#frame };
    strength.pending.push(this.#context.evidence(dissection, fields));
  }

  /** Counts acknowledgements that were heard otherwise than the device before and after them. */
  #report(pan: number, short: number, strength: Strength, confidence: Confidence): void {
    if (strength.pending.length === 0) return;
    const device = this.#context.deviceName(pan, short);
    for (const evidence of strength.pending) {
      if (++strength.strange < strangeMin) continue;
      this.#context.addEvidence("ZB-ACK-FORGED", `device ${device} in ${networkName(pan)}`, evidence, {
        confidence: strength.usual > 0 ? confidence : "possible",
        summary: `${strength.strange} acknowledgements in its name were heard at another strength than the device`,
      });
    }
    strength.pending = [];
  }

  #seeMessage(dissection: Dissection, pan: number): void {
    const { aps, nwk, mac, frame } = dissection;
    const asksEnd = aps?.frameType === ApsFrameType.data && (aps.frameControl & 0x40) !== 0;
    if (!asksEnd || nwk === undefined || nwk.destinationShort >= broadcastAddresses) return;
    // At the last hop, whose acknowledgement says that the receiver has it.
    if (mac.destinationShort !== nwk.destinationShort) return;
    const identity = identityOf(nwk.sourceShort, nwk.destinationShort, aps.counter);
    const messages = this.#waiting.get(pan) ?? new Map<number, Message>();
    setBounded(this.#waiting, pan, messages, networksMax);
    const before = messages.get(identity);
    if (before !== undefined && frame.timeUs - before.sinceUs < confirmationUsMax) {
      this.#message = before;
      if (before.macSequence === mac.sequence) return;
      before.macSequence = mac.sequence;
      before.isAcknowledged = false;
      before.tries++;
      before.evidence ??= this.#context.evidence(dissection, {
        source: this.#context.deviceName(pan, nwk.sourceShort),
        destination: this.#context.deviceName(pan, nwk.destinationShort),
        apsCounter: aps.counter,
      });
      return;
    }
    if (before !== undefined) this.#giveUp(pan, identity, before);
    this.#message = {
      sinceUs: frame.timeUs,
      macSequence: mac.sequence,
      tries: 1,
      acknowledged: 0,
      isAcknowledged: false,
      evidence: undefined,
    };
    setBounded(messages, identity, this.#message, rememberedMax);
  }

  #seeConfirmation({ aps, nwk }: Dissection, pan: number): void {
    if (aps?.frameType !== ApsFrameType.acknowledgment || nwk === undefined) return;
    this.#waiting.get(pan)?.delete(identityOf(nwk.destinationShort, nwk.sourceShort, aps.counter));
  }

  #giveUp(pan: number, identity: number, { tries, acknowledged, evidence }: Message): void {
    this.#waiting.get(pan)?.delete(identity);
    // Where the sniffer does not hear the acknowledgements, it would not hear the confirmation either.
    if (tries < triesMin || acknowledged < tries || evidence === undefined) return;
    const source = Math.floor(identity / 2 ** 24);
    const lost = this.#unconfirmed.get(pan * 0x10000 + source) ?? [];
    setBounded(this.#unconfirmed, pan * 0x10000 + source, lost, rememberedMax);
    // Those that made up the number belong to it; after that each is reported for itself.
    if (lost.length < unconfirmedMin) lost.push(evidence);
    if (lost.length < unconfirmedMin) return;
    const subject = `device ${this.#context.deviceName(pan, source)} in ${networkName(pan)}`;
    for (const one of lost.at(-1) === evidence ? lost : [evidence]) {
      this.#context.addEvidence("ZB-UNCONFIRMED", subject, one, {
        confidence: "probable",
        summary: (count) =>
          `${count} messages were acknowledged at the last hop each time they were sent, and never confirmed by their receiver`,
      });
    }
  }
}

/** Whether a device that is usually heard like this cannot be heard at `rssi`. */
function isStrange({ mean, variance }: Strength, rssi: number): boolean {
  return Math.abs(rssi - mean) >= Math.max(strangeDb, strangeDeviations * Math.sqrt(variance));
}

/** Sender, receiver and APS counter in one number. */
function identityOf(source: number, destination: number, counter: number): number {
  return (source * 0x10000 + destination) * 0x100 + counter;
}
