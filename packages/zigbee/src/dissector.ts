import {
  addressesMax,
  ApsOpener,
  levelProbesMax,
  type NetworkMemory,
  otherLevels,
  triedOfFailures,
} from "./aps-opener.ts";
import { type ApsCommand, decodeApsCommand } from "./aps/aps-command.ts";
import { ApsFrameType, decodeApsFrame } from "./aps/aps-frame.ts";
import { type CapturedFrame } from "./capture/captured-frame.ts";
import { createDissection, type Dissection } from "./dissection.ts";
import { type Eui64 } from "./eui64.ts";
import { decodeGreenPowerFrame } from "./green-power/green-power-frame.ts";
import { type Keyring, type ZigbeeKey } from "./keyring.ts";
import { MacFrameType, decodeMacFrame } from "./mac/mac-frame.ts";
import { MacCommandId } from "./mac/mac-command.ts";
import { decodeNwkFrame, NwkFrameType } from "./nwk/nwk-frame.ts";
import { recognizeProtocol } from "./protocol.ts";
import { type AuxiliaryHeader } from "./security/auxiliary-header.ts";
import { openCcmStar, peekCcmStar } from "./security/ccm-star.ts";
import { securityLevel } from "./security/levels.ts";
import { createNonce, setMacNonce, setZigbeeNonce } from "./security/nonce.ts";

/** Longest payload that is opened: more than any radio frame has. */
const payloadBytesMax = 2_048;
/** The level that Zigbee stacks use unless told otherwise. @see Zigbee §4.3.3 */
const usualLevel = 5;
/** More PAN ids than this are a flood: then what is known of networks is learnt anew. */
const networksMax = 4_096;
/** Frames under one key sequence number that no key opens, after which only some of them are tried with all keys. */
const failuresMax = 1_024;

/** Settings of a `Dissector`. */
export interface DissectorOptions {
  /** Reads NWK and APS frames as protected with this level, where its code cannot be found by trying: 4. */
  readonly level?: number;
  /** Opens a NWK frame only when it can carry a key, once the key of its network is known; the others stay unopened. */
  readonly keysOnly?: boolean;
}

/**
 * Reads whole frames with whatever keys are known at the time. Remembers which key and level each network uses and which
 * EUI-64 stands behind a short address, so frames go through one dissector in the order of the capture. Never throws.
 */
export class Dissector {
  readonly #keyring: Keyring;
  readonly #forcedLevel: number | undefined;
  readonly #keysOnly: boolean;
  readonly #networks = new Map<number, NetworkMemory>();
  readonly #addresses = new Map<number, Eui64>();
  readonly #aps: ApsOpener;
  readonly #nonce = createNonce();
  readonly #macBuffer = new Uint8Array(payloadBytesMax);
  readonly #nwkBuffer = new Uint8Array(payloadBytesMax);
  readonly #apsBuffer = new Uint8Array(payloadBytesMax);
  readonly #tunnelBuffer = new Uint8Array(payloadBytesMax);

  constructor(keyring: Keyring, options: DissectorOptions = {}) {
    this.#keyring = keyring;
    this.#forcedLevel = options.level;
    this.#keysOnly = options.keysOnly === true;
    this.#aps = new ApsOpener({
      keyring,
      forcedLevel: options.level,
      memory: (pan) => this.#memory(pan),
      address: (pan, short) => this.address(pan, short),
    });
  }

  /** The EUI-64 that was last seen behind a short address. */
  address(pan: number, short: number): Eui64 | undefined {
    return this.#addresses.get(pan * 0x10000 + short);
  }

  /** Everything that can be read of `frame`; byte arrays in it are valid until the next call. */
  dissect(frame: CapturedFrame): Dissection {
    const mac = decodeMacFrame(frame.bytes);
    const dissection = createDissection(frame, mac);
    if (mac.stopped !== undefined) {
      dissection.protocol = "malformed";
      return dissection;
    }
    if (mac.security) {
      dissection.protocol = "secured";
      this.#openMac(dissection);
      if (dissection.macProtection !== "opened") return dissection;
    }
    if (mac.frameType !== MacFrameType.data) {
      this.#learnAssociation(dissection);
      return dissection;
    }
    const { macPayload, macPayloadStart, macPayloadEnd } = dissection;
    const protocol = recognizeProtocol(mac, macPayload, macPayloadStart, macPayloadEnd);
    if (dissection.protocol !== "secured" || protocol === "zigbee") dissection.protocol = protocol;
    if (protocol === "zigbee") {
      this.#readNwk(dissection);
    } else if (protocol === "inter-pan") {
      const aps = decodeApsFrame(macPayload, macPayloadStart + 2, macPayloadEnd);
      dissection.aps = aps;
      dissection.apsPayload = macPayload;
      dissection.apsPayloadStart = aps.payloadStart;
      dissection.apsPayloadEnd = aps.payloadEnd;
      dissection.stopped ??= aps.stopped?.reason;
    } else if (protocol === "green-power") {
      const greenPower = decodeGreenPowerFrame(macPayload, macPayloadStart, macPayloadEnd);
      dissection.greenPower = greenPower;
      dissection.stopped ??= greenPower.stopped?.reason;
    }
    return dissection;
  }

  #openMac(dissection: Dissection): void {
    const { mac, frame } = dissection;
    const { auxiliary } = mac;
    dissection.macProtection = "unopened";
    const source = mac.source ?? this.address(mac.sourcePan, mac.sourceShort);
    if (auxiliary === undefined || source === undefined) return;
    const level = securityLevel(auxiliary.control);
    // Part of the payload of commands and beacons stays readable: it is authenticated only (IEEE 802.15.4-2006 §7.6.3.3).
    const open = mac.frameType === MacFrameType.command ? 1 : mac.frameType === MacFrameType.beacon ? 4 : 0;
    const payloadStart = Math.min(mac.payloadStart + open, mac.payloadEnd);
    setMacNonce(this.#nonce, source, auxiliary.frameCounter, auxiliary.control & 7);
    const input = {
      bytes: frame.bytes.subarray(0, mac.payloadEnd),
      start: 0,
      payloadStart,
      payloadEnd: mac.payloadEnd - level.micBytes,
      nonce: this.#nonce,
      level,
      patchOffset: -1,
      patchValue: 0,
    };
    if (level.micBytes === 0 && level.encrypted) return;
    for (const key of this.#keyring.keys("mac")) {
      const count = openCcmStar(key.data, input, this.#macBuffer.subarray(open));
      if (count === -1) continue;
      for (let index = 0; index < open; index++) {
        this.#macBuffer[index] = frame.bytes[mac.payloadStart + index] ?? 0;
      }
      dissection.macProtection = "opened";
      dissection.macPayload = this.#macBuffer;
      dissection.macPayloadStart = 0;
      dissection.macPayloadEnd = open + count;
      return;
    }
  }

  #learnAssociation({ mac, macPayload, macPayloadStart, macPayloadEnd }: Dissection): void {
    const isResponse =
      mac.frameType === MacFrameType.command &&
      macPayload[macPayloadStart] === MacCommandId.associationResponse &&
      macPayloadEnd - macPayloadStart >= 4 &&
      macPayload[macPayloadStart + 3] === 0;
    if (!isResponse || mac.destination === undefined) return;
    const short = (macPayload[macPayloadStart + 1] ?? 0) | ((macPayload[macPayloadStart + 2] ?? 0) << 8);
    this.#learn(mac.destinationPan, short, mac.destination);
  }

  #learn(pan: number, short: number, address: Eui64): void {
    const index = pan * 0x10000 + short;
    if (this.#addresses.get(index) === address) return;
    if (this.#addresses.size >= addressesMax) this.#addresses.clear();
    this.#addresses.set(index, address);
  }

  #readNwk(dissection: Dissection): void {
    const { mac, macPayload, macPayloadStart, macPayloadEnd } = dissection;
    const nwk = decodeNwkFrame(macPayload, macPayloadStart, macPayloadEnd);
    dissection.nwk = nwk;
    if (nwk.stopped !== undefined) {
      dissection.stopped = nwk.stopped.reason;
      return;
    }
    if (nwk.security) {
      dissection.nwkProtection = "unopened";
      this.#openNwk(dissection, nwk.auxiliary);
      if (dissection.nwkPayload === undefined && !this.#keysOnly) return;
      const pan = mac.destinationPan;
      if (nwk.auxiliary?.source !== undefined && mac.sourceShort !== -1) {
        this.#learn(pan, mac.sourceShort, nwk.auxiliary.source);
      }
      if (nwk.source !== undefined) this.#learn(pan, nwk.sourceShort, nwk.source);
      if (dissection.nwkPayload === undefined) return;
    } else {
      dissection.nwkPayload = macPayload;
      dissection.nwkPayloadStart = nwk.payloadStart;
      dissection.nwkPayloadEnd = nwk.payloadEnd;
    }
    if (nwk.frameType !== NwkFrameType.data) return;
    this.#readAps(dissection, {
      bytes: dissection.nwkPayload,
      start: dissection.nwkPayloadStart,
      end: dissection.nwkPayloadEnd,
      buffer: this.#apsBuffer,
    });
  }

  #memory(pan: number): NetworkMemory {
    const found = this.#networks.get(pan);
    if (found !== undefined) return found;
    if (this.#networks.size >= networksMax) this.#networks.clear();
    const level = this.#forcedLevel ?? usualLevel;
    const added = { level, levelProbes: 0, keys: new Map(), failures: new Map(), keyCount: 0 };
    this.#networks.set(pan, added);
    return added;
  }

  #openNwk(dissection: Dissection, auxiliary: AuxiliaryHeader | undefined): void {
    if (auxiliary?.source === undefined) return;
    const memory = this.#memory(dissection.mac.destinationPan);
    const remembered = memory.keys.get(auxiliary.keySequence);
    const skips = this.#keysOnly && dissection.nwk?.frameType !== NwkFrameType.data;
    if (remembered !== undefined && skips) return;
    if (
      remembered !== undefined &&
      this.#tryNwk(dissection, auxiliary, remembered, memory.level, this.#keysOnly)
    ) {
      return;
    }
    const keys = this.#keyring.keys("network");
    if (memory.keyCount !== keys.length) memory.failures.clear();
    memory.keyCount = keys.length;
    const failures = memory.failures.get(auxiliary.keySequence) ?? 0;
    memory.failures.set(auxiliary.keySequence, failures + 1);
    if (failures > failuresMax && failures % triedOfFailures !== 0) return;
    for (const key of keys) {
      if (key !== remembered && this.#tryNwk(dissection, auxiliary, key, memory.level)) {
        memory.keys.set(auxiliary.keySequence, key);
        memory.failures.delete(auxiliary.keySequence);
        return;
      }
    }
    if (this.#forcedLevel !== undefined || memory.levelProbes >= levelProbesMax || memory.keys.size > 0)
      return;
    memory.levelProbes++;
    for (const level of otherLevels) {
      for (const key of this.#keyring.keys("network")) {
        if (!this.#tryNwk(dissection, auxiliary, key, level)) continue;
        memory.level = level;
        memory.keys.set(auxiliary.keySequence, key);
        return;
      }
    }
  }

  #tryNwk(
    dissection: Dissection,
    auxiliary: AuxiliaryHeader,
    key: ZigbeeKey,
    levelBits: number,
    peeks = false,
  ): boolean {
    const { nwk } = dissection;
    if (nwk === undefined || auxiliary.source === undefined) return false;
    const level = securityLevel(levelBits);
    const control = (auxiliary.control & ~7) | levelBits;
    setZigbeeNonce(this.#nonce, auxiliary.source, auxiliary.frameCounter, control);
    const input = {
      bytes: dissection.macPayload,
      start: nwk.start,
      payloadStart: nwk.payloadStart,
      payloadEnd: nwk.payloadEnd - level.micBytes,
      nonce: this.#nonce,
      level,
      patchOffset: auxiliary.controlOffset,
      patchValue: control,
    };
    if (peeks && (peekCcmStar(key.data, input) & 3) !== ApsFrameType.command) return true;
    const count = openCcmStar(key.data, input, this.#nwkBuffer);
    if (count === -1) return false;
    dissection.nwkProtection = "opened";
    dissection.nwkKey = key;
    dissection.nwkLevel = levelBits;
    dissection.nwkPayload = this.#nwkBuffer;
    dissection.nwkPayloadStart = 0;
    dissection.nwkPayloadEnd = count;
    return true;
  }

  #readAps(
    dissection: Dissection,
    at: {
      readonly bytes: Uint8Array;
      readonly start: number;
      readonly end: number;
      readonly buffer: Uint8Array;
    },
  ): void {
    const aps = decodeApsFrame(at.bytes, at.start, at.end);
    dissection.aps = aps;
    dissection.apsKey = undefined;
    dissection.apsProtection = "none";
    dissection.apsPayload = undefined;
    if (aps.stopped !== undefined) {
      dissection.stopped ??= aps.stopped.reason;
      return;
    }
    if (aps.security) {
      dissection.apsProtection = "unopened";
      this.#aps.open(dissection, at);
    } else {
      dissection.apsPayload = at.bytes;
      dissection.apsPayloadStart = aps.payloadStart;
      dissection.apsPayloadEnd = aps.payloadEnd;
    }
    if (dissection.apsPayload === undefined || aps.frameType !== ApsFrameType.command) return;
    const command: ApsCommand = decodeApsCommand(
      dissection.apsPayload,
      dissection.apsPayloadStart,
      dissection.apsPayloadEnd,
    );
    dissection.apsCommand = command;
    dissection.stopped ??= command.stopped?.reason;
    if (command.kind !== "tunnel" || command.stopped !== undefined || dissection.tunnelled) return;
    dissection.tunnelled = true;
    const { start, end } = command;
    this.#readAps(dissection, { bytes: dissection.apsPayload, start, end, buffer: this.#tunnelBuffer });
  }
}
