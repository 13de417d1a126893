import { isWhole } from "@postern/zigbee/capture/captured-frame";
import { type Dissection } from "@postern/zigbee/dissection";
import { decodeBeacon } from "@postern/zigbee/mac/beacon";
import { MacFrameType, type MacFrame } from "@postern/zigbee/mac/mac-frame";
import { zigbeeProVersion } from "@postern/zigbee/nwk/nwk-frame";

/** Networks that are told apart; more PAN ids than this are noise or a flood. */
const networksMax = 1_024;
/** Two frames closer than this were not sent by one radio after the other: the sniffer gives times in batches. */
const batchedUs = 300;
const broadcastPan = 0xffff;

/** What a first pass finds out of a network. */
export interface SurveyedNetwork {
  readonly pan: number;
  zigbeeFrames: number;
  /** Data frames of other protocols. */
  otherFrames: number;
  zigbeeBeacons: number;
  securedFrames: number;
  /** Key sequence numbers under which a frame could be opened. */
  readonly openedSequences: Set<number>;
}

/** The PAN that a frame belongs to; -1 when it names none. */
export function panOf(mac: MacFrame): number {
  if (mac.destinationPan !== -1 && mac.destinationPan !== broadcastPan) return mac.destinationPan;
  return mac.sourcePan === broadcastPan ? -1 : mac.sourcePan;
}

/** Whether what was read can be trusted: the check sequence was right, or a key proved the content. */
export function isTrusted({ frame, nwkProtection, apsProtection, macProtection }: Dissection): boolean {
  return (
    isWhole(frame) || nwkProtection === "opened" || apsProtection === "opened" || macProtection === "opened"
  );
}

/** Time on air of a frame with its preamble and check sequence, at 2.4 GHz: 32 microseconds a byte. */
export function airtimeUs(bytes: Uint8Array): number {
  return 32 * (bytes.length + 2 + 6);
}

function seeProtection({ nwk, nwkProtection }: Dissection, network: SurveyedNetwork): void {
  if (nwkProtection === "none") return;
  network.securedFrames++;
  if (nwkProtection === "opened") network.openedSequences.add(nwk?.auxiliary?.keySequence ?? -1);
}

/** What has to be known of a whole capture before single frames can be judged. */
export interface CaptureFacts {
  /** Whether this PAN is a Zigbee network: it speaks Zigbee, and no other protocol more often. */
  isZigbee(pan: number): boolean;
  /** Whether any frame of the network has NWK security. */
  isProtected(pan: number): boolean;
  /** Whether a frame under that key sequence number could be opened. */
  isOpened(pan: number, keySequence: number): boolean;
  /** Whether the times of the capture can be used at all: it lasts about as long as sending its frames takes. */
  readonly hasTimeBase: boolean;
  /** Whether single gaps can be used: the sniffer does not give its times in batches. */
  readonly hasPreciseTimes: boolean;
  /** Whether the check sequences say anything: half of all frames being wrong is the sniffer's doing. */
  readonly hasFrameChecks: boolean;
}

/** Finds out the facts of a capture, and counts. */
export class Survey implements CaptureFacts {
  readonly networks = new Map<number, SurveyedNetwork>();
  frames = 0;
  goodFrames = 0;
  badFrames = 0;
  /** Frames of which the capture has the beginning only. */
  cutFrames = 0;
  malformedFrames = 0;
  securedFrames = 0;
  openedFrames = 0;
  /** Frames that the MAC protects, as IEEE 802.15.4 has it and Zigbee does not. */
  macSecuredFrames = 0;
  macOpenedFrames = 0;
  firstUs = Number.POSITIVE_INFINITY;
  lastUs = Number.NEGATIVE_INFINITY;
  /** Frames of protocols that are not Zigbee. */
  readonly foreign = new Map<string, number>();
  #airtimeUs = 0;
  #batched = 0;
  #previousUs = Number.NaN;

  see(dissection: Dissection): void {
    const { frame, mac, protocol } = dissection;
    this.frames++;
    if (frame.frameCheck === "good") this.goodFrames++;
    else if (frame.frameCheck === "bad") this.badFrames++;
    else if (frame.frameCheck === "cut") this.cutFrames++;
    if (frame.timeUs < this.firstUs) this.firstUs = frame.timeUs;
    if (frame.timeUs > this.lastUs) this.lastUs = frame.timeUs;
    this.#airtimeUs += airtimeUs(frame.bytes);
    if (Math.abs(frame.timeUs - this.#previousUs) < batchedUs) this.#batched++;
    this.#previousUs = frame.timeUs;
    if (protocol !== "mac" && protocol !== "zigbee") {
      this.foreign.set(protocol, (this.foreign.get(protocol) ?? 0) + 1);
    }
    if (!isTrusted(dissection)) return;
    if (dissection.stopped !== undefined) this.malformedFrames++;
    this.#countProtection(dissection);
    const network = this.#network(panOf(mac));
    if (network === undefined) return;
    if (protocol === "zigbee") {
      network.zigbeeFrames++;
      seeProtection(dissection, network);
    } else if (mac.frameType === MacFrameType.data && protocol !== "mac" && protocol !== "inter-pan") {
      network.otherFrames++;
    } else if (mac.frameType === MacFrameType.beacon) {
      const { zigbee } = decodeBeacon(frame.bytes, mac.payloadStart, mac.payloadEnd);
      if (zigbee?.protocolVersion === zigbeeProVersion) network.zigbeeBeacons++;
    }
  }

  /** A frame counts as opened when every layer of its protection is. */
  #countProtection({ nwkProtection, apsProtection, macProtection, protocol }: Dissection): void {
    if (protocol === "secured") {
      this.macSecuredFrames++;
      if (macProtection === "opened") this.macOpenedFrames++;
      return;
    }
    if (nwkProtection === "none" && apsProtection === "none") return;
    this.securedFrames++;
    if (nwkProtection !== "unopened" && apsProtection !== "unopened") this.openedFrames++;
  }

  #network(pan: number): SurveyedNetwork | undefined {
    const found = this.networks.get(pan);
    if (found !== undefined || pan === -1 || this.networks.size >= networksMax) return found;
    const network: SurveyedNetwork = {
      pan,
      zigbeeFrames: 0,
      otherFrames: 0,
      zigbeeBeacons: 0,
      securedFrames: 0,
      openedSequences: new Set(),
    };
    this.networks.set(pan, network);
    return network;
  }

  /** Whether there are frames that another key might open. */
  get hasUnopened(): boolean {
    return this.openedFrames < this.securedFrames || this.macOpenedFrames < this.macSecuredFrames;
  }

  isZigbee(pan: number): boolean {
    const network = this.networks.get(pan);
    if (network === undefined) return false;
    const zigbee = network.zigbeeFrames + network.zigbeeBeacons;
    return zigbee > 0 && zigbee >= network.otherFrames;
  }

  isProtected(pan: number): boolean {
    return (this.networks.get(pan)?.securedFrames ?? 0) > 0;
  }

  isOpened(pan: number, keySequence: number): boolean {
    return this.networks.get(pan)?.openedSequences.has(keySequence) ?? false;
  }

  get hasTimeBase(): boolean {
    return this.frames > 1 && this.lastUs - this.firstUs >= 0.1 * this.#airtimeUs;
  }

  get hasPreciseTimes(): boolean {
    return this.hasTimeBase && this.#batched <= 0.1 * this.frames;
  }

  get hasFrameChecks(): boolean {
    return this.goodFrames > 0 && this.badFrames <= this.goodFrames;
  }
}
