import { type ApsCommand, decodeApsCommand } from "@postern/zigbee/aps/aps-command";
import { type ApsFrame, ApsFrameType, decodeApsFrame } from "@postern/zigbee/aps/aps-frame";
import {
  type ApsAddress,
  encodeApsAcknowledgment,
  encodeApsCommandHeader,
  encodeApsDataHeader,
} from "@postern/zigbee/aps/encode-aps-frame";
import { type Eui64 } from "@postern/zigbee/eui64";
import { smartEnergyProfile } from "@postern/zigbee/key-establishment/encode-key-establishment";
import { keyEstablishmentCluster } from "@postern/zigbee/key-establishment/key-establishment-command";
import { OutgoingCounter } from "@postern/zigbee/key-life/frame-counters";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";
import { type AesKey, createAesKey } from "@postern/zigbee/security/aes";
import { KeyIdentifier } from "@postern/zigbee/security/auxiliary-header";
import { openFrame, sealFrame } from "@postern/zigbee/security/frame-protection";
import { keyLoadKey, keyTransportKey } from "@postern/zigbee/security/link-key";
import { joined } from "@postern/zigbee/security/mmo-hash";
import { zdpProfile } from "@postern/zigbee/zdp/zdp-frame";

import { type EventQueue, type Timer } from "../event-queue.ts";
import { type StackSettings } from "../settings.ts";
import { type Nwk } from "./nwk.ts";
import { NwkBroadcast, type Received } from "./nwk-types.ts";

const acknowledgmentWaitUs = 1_600_000;
const retriesMax = 3;
/** Messages that are remembered so that one that comes twice is taken once. @see Zigbee §2.2.8.4.2 */
const rememberedMax = 32;

/** How an APS frame is protected: with a link key, or a key derived from it. */
export interface ApsProtection {
  readonly linkKey: Uint8Array;
  /** A `KeyIdentifier`. */
  readonly keyIdentifier: number;
}

/** A message of an application, or of ZDP. */
export interface ApsMessage extends ApsAddress {
  readonly destination: number;
  readonly payload: Uint8Array;
  readonly acknowledged: boolean;
  readonly protection?: ApsProtection | undefined;
  /** `true`: confirmed from end to end; `undefined`: was not to be confirmed and left. */
  readonly onDone?: (confirmed: boolean | undefined) => void;
}

/** What arrives for an application. */
export interface ApsIndication {
  readonly source: number;
  readonly aps: ApsFrame;
  readonly payload: Uint8Array;
  readonly apsSecured: boolean;
  readonly received: Received;
}

/** A command with the link key that protected it, if one did. */
export interface ApsCommandIndication {
  readonly command: ApsCommand;
  readonly linkKey: Uint8Array | undefined;
  /** Who has protected it with that link key. */
  readonly protectedBy: Eui64 | undefined;
  readonly received: Received;
  /** The frame of a tunnel. */
  readonly tunnelled: Uint8Array | undefined;
}

/** The key that protects a frame. @see Zigbee §4.5.3 */
function derivedKey({ linkKey, keyIdentifier }: ApsProtection): AesKey {
  if (keyIdentifier === KeyIdentifier.keyTransportKey) return createAesKey(keyTransportKey(linkKey));
  if (keyIdentifier === KeyIdentifier.keyLoadKey) return createAesKey(keyLoadKey(linkKey));
  return createAesKey(linkKey);
}

/** The application support sub-layer of one device. @see Zigbee §2.2 */
export class Aps {
  readonly #nwk: Nwk;
  readonly #queue: EventQueue;
  readonly #address: Eui64;
  readonly #stack: StackSettings;
  readonly #linkKeys: (source: Eui64 | undefined) => readonly Uint8Array[];
  readonly #counters = new OutgoingCounter();
  readonly #open = new Map<number, { readonly timer: Timer; readonly done: (confirmed: boolean) => void }>();
  readonly #remembered: string[] = [];
  #counter: number;
  onData: (indication: ApsIndication) => void = () => {};
  onCommand: (indication: ApsCommandIndication) => void = () => {};

  constructor(parts: {
    readonly nwk: Nwk;
    readonly queue: EventQueue;
    readonly address: Eui64;
    readonly stack: StackSettings;
    readonly firstCounter: number;
    /** Link keys that may protect what comes from that device. */
    readonly linkKeys: (source: Eui64 | undefined) => readonly Uint8Array[];
  }) {
    this.#nwk = parts.nwk;
    this.#queue = parts.queue;
    this.#address = parts.address;
    this.#stack = parts.stack;
    this.#linkKeys = parts.linkKeys;
    this.#counter = parts.firstCounter;
  }

  /** Whether the device waits for a confirmation. */
  get isWaiting(): boolean {
    return this.#open.size > 0;
  }

  /** Sends a message; returns its APS counter. */
  send(message: ApsMessage): number {
    const counter = this.#nextCounter();
    const broadcast = message.destination >= NwkBroadcast.lowest;
    const acknowledged = message.acknowledged && !broadcast;
    const header = encodeApsDataHeader({
      ...message,
      counter,
      broadcast,
      security: message.protection !== undefined,
      acknowledgmentRequest: acknowledged,
    });
    this.#attempt(message, header, counter, acknowledged ? retriesMax : 0);
    return counter;
  }

  #attempt(message: ApsMessage, header: Uint8Array, counter: number, retries: number): void {
    const frame = this.#protected(header, message.payload, message.protection);
    if (frame === undefined) return;
    const acknowledged = message.acknowledged && message.destination < NwkBroadcast.lowest;
    this.#nwk.send(frame, {
      frameType: NwkFrameType.data,
      destination: message.destination,
      onDone: (result) => {
        if (!acknowledged) message.onDone?.(result === "sent" ? undefined : false);
      },
    });
    if (!acknowledged) return;
    const timer = this.#queue.after(acknowledgmentWaitUs, () => {
      this.#open.delete(counter);
      if (retries > 0) this.#attempt(message, header, counter, retries - 1);
      else message.onDone?.(false);
    });
    this.#open.set(counter, { timer, done: (confirmed) => message.onDone?.(confirmed) });
  }

  /** Sends a command. `nextHop` and `secured: false` are for devices that do not have the network key yet. */
  sendCommand(
    payload: Uint8Array,
    to: {
      readonly destination: number;
      readonly protection?: ApsProtection | undefined;
      readonly secured?: boolean;
      readonly nextHop?: number;
      readonly onDone?: (sent: boolean) => void;
    },
  ): void {
    const frame = this.commandFrame(payload, to.protection);
    if (frame === undefined) return;
    this.#nwk.send(frame, {
      frameType: NwkFrameType.data,
      destination: to.destination,
      onDone: (result) => to.onDone?.(result === "sent"),
      ...(to.secured === undefined ? {} : { secured: to.secured }),
      ...(to.nextHop === undefined ? {} : { nextHop: to.nextHop }),
    });
  }

  /** A command as an APS frame, for a tunnel. */
  commandFrame(payload: Uint8Array, protection?: ApsProtection): Uint8Array | undefined {
    const header = encodeApsCommandHeader(this.#nextCounter(), protection !== undefined);
    return this.#protected(header, payload, protection);
  }

  /** A NWK data frame has arrived. */
  receive(received: Received): void {
    const { payload, frame } = received;
    const aps = decodeApsFrame(payload);
    if (aps.stopped !== undefined) return;
    const opened = this.#openFrame(payload, aps, received);
    if (opened === undefined) return;
    if (aps.frameType === ApsFrameType.acknowledgment) {
      const open = this.#open.get(aps.counter);
      if (open === undefined) return;
      open.timer.cancelled = true;
      this.#open.delete(aps.counter);
      open.done(true);
    } else if (aps.frameType === ApsFrameType.command) {
      const command = decodeApsCommand(opened.payload);
      if (command.stopped !== undefined) return;
      const tunnelled =
        command.kind === "tunnel" ? opened.payload.slice(command.start, command.end) : undefined;
      const protectedBy = opened.linkKey === undefined ? undefined : aps.auxiliary?.source;
      this.onCommand({ command, linkKey: opened.linkKey, protectedBy, received, tunnelled });
    } else if (aps.frameType === ApsFrameType.data) {
      const isPlain = !received.secured && this.#stack.securityLevel > 0;
      if (isPlain && !this.#stack.acceptsUnsecuredData) return;
      this.#data(received, aps, opened.payload, frame.sourceShort);
    }
  }

  #data(received: Received, aps: ApsFrame, payload: Uint8Array, source: number): void {
    // Whoever holds the network key could have sent what has no more protection than that.
    const makesKeys = aps.cluster === keyEstablishmentCluster && aps.profile === smartEnergyProfile;
    if (this.#stack.apsEncryption && aps.profile !== zdpProfile && !makesKeys && !aps.security) return;
    if (aps.frameControl & 0x40) this.#acknowledge(received, aps, source);
    const identity = `${source} ${aps.counter} ${aps.cluster}`;
    if (this.#stack.checksFreshness && this.#remembered.includes(identity)) return;
    this.#remembered.push(identity);
    if (this.#remembered.length > rememberedMax) this.#remembered.shift();
    this.onData({ source, aps, payload, apsSecured: aps.security, received });
  }

  #acknowledge({ protectedBy }: Received, aps: ApsFrame, source: number): void {
    const { destinationEndpoint, sourceEndpoint, cluster, profile, counter } = aps;
    const of = { destinationEndpoint, sourceEndpoint, cluster, profile, counter };
    const [linkKey] = aps.security ? this.#linkKeys(aps.auxiliary?.source ?? protectedBy) : [];
    const protection = linkKey === undefined ? undefined : { linkKey, keyIdentifier: KeyIdentifier.dataKey };
    const header = encodeApsAcknowledgment({ ...of, security: protection !== undefined });
    const frame = this.#protected(header, new Uint8Array(0), protection);
    if (frame !== undefined) {
      this.#nwk.send(frame, { frameType: NwkFrameType.data, destination: source });
    }
  }

  #openFrame(
    bytes: Uint8Array,
    aps: ApsFrame,
    received: Received,
  ): { readonly payload: Uint8Array; readonly linkKey: Uint8Array | undefined } | undefined {
    if (!aps.security) return { payload: bytes.slice(aps.payloadStart, aps.payloadEnd), linkKey: undefined };
    const source = aps.auxiliary?.source ?? received.frame.source;
    const keyIdentifier = aps.auxiliary?.keyIdentifier ?? 0;
    for (const linkKey of this.#linkKeys(source)) {
      const key = derivedKey({ linkKey, keyIdentifier });
      const payload = openFrame(bytes, aps, { key, level: this.#level, source });
      if (payload !== undefined) return { payload, linkKey };
    }
    return undefined;
  }

  /** Keys travel under an integrity code even where other frames have none. */
  get #level(): number {
    return Math.max(5, this.#stack.securityLevel);
  }

  #protected(
    header: Uint8Array,
    payload: Uint8Array,
    protection: ApsProtection | undefined,
  ): Uint8Array | undefined {
    if (protection === undefined) return joined(header, payload);
    const frameCounter = this.#counters.take();
    if (frameCounter === undefined) return undefined;
    return sealFrame(header, payload, {
      key: derivedKey(protection),
      keyIdentifier: protection.keyIdentifier,
      keySequence: 0,
      level: this.#level,
      source: this.#address,
      frameCounter,
    });
  }

  #nextCounter(): number {
    this.#counter = (this.#counter + 1) & 0xff;
    return this.#counter;
  }
}
