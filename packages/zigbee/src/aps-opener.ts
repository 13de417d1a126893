import { type Dissection } from "./dissection.ts";
import { type Eui64 } from "./eui64.ts";
import { type Keyring, type ZigbeeKey } from "./keyring.ts";
import { type NwkFrame } from "./nwk/nwk-frame.ts";
import { type AesKey } from "./security/aes.ts";
import { type AuxiliaryHeader, KeyIdentifier } from "./security/auxiliary-header.ts";
import { openCcmStar } from "./security/ccm-star.ts";
import { securityLevel } from "./security/levels.ts";
import { createNonce, setZigbeeNonce } from "./security/nonce.ts";

/** Short addresses, and pairs of them, of which something is remembered. */
export const addressesMax = 65_536;
/** Levels that leave a code to check a key with, in the order they are tried when the usual one fails. */
export const otherLevels: readonly number[] = [6, 7, 1, 2, 3];
/** Failed frames of a network after which only its level is tried: the level never changes within a network. */
export const levelProbesMax = 64;
/** After frames that no key opens, one of so many is tried with all keys: a capture full of invented keys and frames must not take hours. */
export const triedOfFailures = 16;
/** APS frames in a row from one device to another that no key opens, after which only some of them are tried. */
const pairFailuresMax = 64;

/** What is known of a network by having opened its frames. */
export interface NetworkMemory {
  level: number;
  levelProbes: number;
  /** The last key that opened a frame, by key sequence number. */
  readonly keys: Map<number, ZigbeeKey>;
  /** Frames in a row that no key opened, by key sequence number. */
  readonly failures: Map<number, number>;
  /** How many keys there were to try. */
  keyCount: number;
}

/** What is known of the APS frames of two devices. */
interface PairMemory {
  key: ZigbeeKey | undefined;
  failures: number;
  /** How many keys there were to try. */
  keyCount: number;
}

/** Opens APS frames with the keys that are known, those of one pair of devices with the one that opened the last. */
export class ApsOpener {
  readonly #keyring: Keyring;
  readonly #forcedLevel: number | undefined;
  readonly #memory: (pan: number) => NetworkMemory;
  readonly #address: (pan: number, short: number) => Eui64 | undefined;
  readonly #pairs = new Map<number, PairMemory>();
  readonly #nonce = createNonce();

  constructor(parts: {
    readonly keyring: Keyring;
    readonly forcedLevel: number | undefined;
    readonly memory: (pan: number) => NetworkMemory;
    readonly address: (pan: number, short: number) => Eui64 | undefined;
  }) {
    this.#keyring = parts.keyring;
    this.#forcedLevel = parts.forcedLevel;
    this.#memory = parts.memory;
    this.#address = parts.address;
  }

  /** Tries the keys on the APS frame of `dissection`, and puts down what it opened. */
  open(
    dissection: Dissection,
    at: { readonly bytes: Uint8Array; readonly end: number; readonly buffer: Uint8Array },
  ): void {
    const { aps, nwk, mac } = dissection;
    const auxiliary = aps?.auxiliary;
    if (aps === undefined || nwk === undefined || auxiliary === undefined) return;
    const source = auxiliary.source ?? nwk.source ?? this.#address(mac.destinationPan, nwk.sourceShort);
    if (source === undefined) return;
    const keys = this.#keyring.keys(
      auxiliary.keyIdentifier === KeyIdentifier.networkKey ? "network" : "link",
    );
    const memory = this.#memory(mac.destinationPan);
    const how = { auxiliary, source, keys, bits: dissection.nwkLevel || memory.level };
    const pair = pairOf(mac.destinationPan, nwk);
    const last = this.#pairs.get(pair) ?? { key: undefined, failures: 0, keyCount: keys.length };
    if (last.key !== undefined && this.#tryAps(dissection, at, { ...how, keys: [last.key] })) return;
    if (last.keyCount !== keys.length) last.failures = 0;
    last.keyCount = keys.length;
    if (last.failures++ > pairFailuresMax && last.failures % triedOfFailures !== 0) return;
    if (this.#pairs.size >= addressesMax) this.#pairs.clear();
    this.#pairs.set(pair, last);
    const isKnown = dissection.nwkLevel !== 0 || this.#forcedLevel !== undefined || memory.keys.size > 0;
    if (this.#tryAps(dissection, at, how)) {
      last.key = dissection.apsKey;
      last.failures = 0;
      return;
    }
    if (isKnown || memory.levelProbes >= levelProbesMax) return;
    // A join shows its level before any frame of the network does.
    memory.levelProbes++;
    const level = otherLevels.find((bits) => this.#tryAps(dissection, at, { ...how, bits }));
    if (level !== undefined) memory.level = level;
  }

  #tryAps(
    dissection: Dissection,
    at: { readonly bytes: Uint8Array; readonly end: number; readonly buffer: Uint8Array },
    how: {
      readonly auxiliary: AuxiliaryHeader;
      readonly source: Eui64;
      readonly keys: readonly ZigbeeKey[];
      readonly bits: number;
    },
  ): boolean {
    const { aps } = dissection;
    if (aps === undefined) return false;
    const { auxiliary, bits } = how;
    const level = securityLevel(bits);
    const control = (auxiliary.control & ~7) | bits;
    setZigbeeNonce(this.#nonce, how.source, auxiliary.frameCounter, control);
    const input = {
      bytes: at.bytes.subarray(0, at.end),
      start: aps.start,
      payloadStart: aps.payloadStart,
      payloadEnd: aps.payloadEnd - level.micBytes,
      nonce: this.#nonce,
      level,
      patchOffset: auxiliary.controlOffset,
      patchValue: control,
    };
    for (const key of how.keys) {
      const count = openCcmStar(keyFor(key, auxiliary.keyIdentifier), input, at.buffer);
      if (count === -1) continue;
      dissection.apsProtection = "opened";
      dissection.apsKey = key;
      dissection.apsPayload = at.buffer;
      dissection.apsPayloadStart = 0;
      dissection.apsPayloadEnd = count;
      return true;
    }
    return false;
  }
}

/** Who sends to whom, in one number. */
function pairOf(pan: number, { sourceShort, destinationShort }: NwkFrame): number {
  return (pan * 0x10000 + sourceShort) * 0x10000 + destinationShort;
}

/** Which of the keys derived from `key` protects an APS frame. @see Zigbee §4.5.3 */
function keyFor(key: ZigbeeKey, identifier: number): AesKey {
  if (identifier === KeyIdentifier.keyTransportKey) return key.transport;
  return identifier === KeyIdentifier.keyLoadKey ? key.load : key.data;
}
