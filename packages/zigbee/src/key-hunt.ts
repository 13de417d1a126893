import { ApsFrameType } from "./aps/aps-frame.ts";
import { type Dissection } from "./dissection.ts";
import { type Eui64 } from "./eui64.ts";
import { type KeyUse } from "./keyring.ts";
import { type AesKey, createAesKey } from "./security/aes.ts";
import { type AuxiliaryHeader, KeyIdentifier } from "./security/auxiliary-header.ts";
import { type CcmStarInput, openCcmStar } from "./security/ccm-star.ts";
import { keyLoadKey, keyTransportKey } from "./security/link-key.ts";
import { securityLevel } from "./security/levels.ts";
import { createNonce, setMacNonce, setZigbeeNonce } from "./security/nonce.ts";

/** Frames that one key opens, or several of one network do: the first tells, the others confirm. */
const targetsMax = 8;
/** Networks and pairs of devices whose keys are looked for at a time. */
const groupsMax = 64;
const keyBytes = 16;
/** Levels with an integrity code: without one, nothing tells a right key from a wrong one. */
const usualLevel = 5;

/** Which key of a device a frame needs. */
type TargetKind = "network" | "link" | "link-transport" | "link-load" | "mac";

/** A protected frame that no known key opens. */
interface Target {
  readonly input: CcmStarInput;
  readonly frame: number;
}

/** Frames that belong together. */
interface Group {
  readonly kind: TargetKind;
  targets: readonly Target[];
}

/** A key that was found in a dump. */
export interface HuntedKey {
  /** Where in the dump it begins. */
  readonly offset: number;
  /** Memory holds it as it is used, or its bytes the other way round. */
  readonly reversed: boolean;
  readonly use: KeyUse;
  readonly bytes: Uint8Array;
  /** Numbers of the frames that it opens, of those that were tried. */
  readonly frames: readonly number[];
  readonly tried: number;
}

/** Looks for the keys of a capture in the memory of a device. @see thesis 6.6 Key storage */
export class KeyHunt {
  readonly #level: number;
  readonly #groups = new Map<string, Group>();
  readonly #output = new Uint8Array(2_048);

  /** `level`: of NWK and APS frames, where it is not the usual one. Throws `RangeError` for one without integrity code. */
  constructor(level: number = usualLevel) {
    if (securityLevel(level).micBytes === 0) {
      throw new RangeError(`at level ${level} no frame tells a right key from a wrong one`);
    }
    this.#level = level;
  }

  /** Takes a frame as a target when no known key has opened it. */
  see(dissection: Dissection, sourceOf: (pan: number, short: number) => Eui64 | undefined): void {
    if (dissection.frame.frameCheck === "bad") return;
    const { mac, nwk, aps, macPayload, frame } = dissection;
    if (dissection.macProtection === "unopened" && mac.auxiliary !== undefined) {
      const source = mac.source ?? sourceOf(mac.sourcePan, mac.sourceShort);
      const level = securityLevel(mac.auxiliary.control);
      if (source === undefined || level.micBytes === 0) return;
      const nonce = createNonce();
      setMacNonce(nonce, source, mac.auxiliary.frameCounter, mac.auxiliary.control & 7);
      const open = mac.frameType === 3 ? 1 : mac.frameType === 0 ? 4 : 0;
      const payloadStart = Math.min(mac.payloadStart + open, mac.payloadEnd);
      const bytes = frame.bytes.slice(0, mac.payloadEnd);
      const payloadEnd = mac.payloadEnd - level.micBytes;
      const input = {
        bytes,
        start: 0,
        payloadStart,
        payloadEnd,
        nonce,
        level,
        patchOffset: -1,
        patchValue: 0,
      };
      this.#add("mac", source, { input, frame: frame.number });
    } else if (dissection.nwkProtection === "unopened" && nwk !== undefined) {
      this.#addZigbee("network", dissection, { bytes: macPayload, ...nwk });
    } else if (dissection.apsProtection === "unopened" && aps !== undefined) {
      const bytes = dissection.nwkPayload;
      if (bytes === undefined || aps.frameType === ApsFrameType.interPan) return;
      this.#addZigbee(apsKind(aps.auxiliary), dissection, { bytes, ...aps });
    }
  }

  /** How many frames there are to try candidates on. */
  get targetCount(): number {
    return [...this.#groups.values()].reduce((sum, { targets }) => sum + targets.length, 0);
  }

  /**
   * The keys in `dump`, at any offset and in both byte orders. Yields `undefined` now and then, with nothing found, so that the caller
   * can show progress at `offset` or stop.
   */
  *search(dump: Uint8Array, everyBytes = 65_536): Generator<HuntedKey | { readonly offset: number }> {
    const reversedBytes = new Uint8Array(keyBytes);
    for (let offset = 0; offset + keyBytes <= dump.length; offset++) {
      if (offset % everyBytes === 0) yield { offset };
      const bytes = dump.subarray(offset, offset + keyBytes);
      if (isUniform(bytes)) continue;
      for (let index = 0; index < keyBytes; index++) reversedBytes[index] = bytes[keyBytes - 1 - index] ?? 0;
      yield* this.#try(bytes, offset, false);
      yield* this.#try(reversedBytes, offset, true);
    }
  }

  *#try(bytes: Uint8Array, offset: number, reversed: boolean): Generator<HuntedKey> {
    const keys = new Map<TargetKind, AesKey>();
    for (const { kind, targets } of this.#groups.values()) {
      const [first] = targets;
      const key = keys.get(kind) ?? createAesKey(derived(kind, bytes));
      keys.set(kind, key);
      if (first === undefined || !this.#opens(key, first.input)) continue;
      const frames = targets.filter(({ input }) => this.#opens(key, input)).map(({ frame }) => frame);
      yield { offset, reversed, use: useOf(kind), bytes: bytes.slice(), frames, tried: targets.length };
    }
  }

  #opens(key: AesKey, input: CcmStarInput): boolean {
    return openCcmStar(key, input, this.#output) !== -1;
  }

  #addZigbee(
    kind: TargetKind,
    { frame, mac }: Dissection,
    at: {
      readonly bytes: Uint8Array;
      readonly start: number;
      readonly auxiliary: AuxiliaryHeader | undefined;
      readonly payloadStart: number;
      readonly payloadEnd: number;
    },
  ): void {
    const { auxiliary } = at;
    if (auxiliary?.source === undefined) return;
    const level = securityLevel(this.#level);
    const control = (auxiliary.control & ~7) | this.#level;
    const nonce = createNonce();
    setZigbeeNonce(nonce, auxiliary.source, auxiliary.frameCounter, control);
    const input: CcmStarInput = {
      bytes: at.bytes.slice(0, at.payloadEnd),
      start: at.start,
      payloadStart: at.payloadStart,
      payloadEnd: at.payloadEnd - level.micBytes,
      nonce,
      level,
      patchOffset: auxiliary.controlOffset,
      patchValue: control,
    };
    // All devices of a network share its key; a link key belongs to a pair.
    const owner = kind === "network" ? `${mac.destinationPan} ${auxiliary.keySequence}` : auxiliary.source;
    this.#add(kind, owner, { input, frame: frame.number });
  }

  /** Short frames are tried fastest: of many, the shortest stay. */
  #add(kind: TargetKind, owner: string, target: Target): void {
    const name = `${kind} ${owner}`;
    const group = this.#groups.get(name) ?? { kind, targets: [] };
    if (!this.#groups.has(name) && this.#groups.size >= groupsMax) return;
    const sorted = [...group.targets, target].sort((a, b) => a.input.payloadEnd - b.input.payloadEnd);
    group.targets = sorted.slice(0, targetsMax);
    this.#groups.set(name, group);
  }
}

function apsKind(auxiliary: AuxiliaryHeader | undefined): TargetKind {
  switch (auxiliary?.keyIdentifier ?? KeyIdentifier.dataKey) {
    case KeyIdentifier.keyTransportKey:
      return "link-transport";
    case KeyIdentifier.keyLoadKey:
      return "link-load";
    case KeyIdentifier.networkKey:
      return "network";
    default:
      return "link";
  }
}

/** The key that protects a frame, made of the key that a device stores. @see Zigbee §4.5.3 */
function derived(kind: TargetKind, bytes: Uint8Array): Uint8Array {
  if (kind === "link-transport") return keyTransportKey(bytes);
  return kind === "link-load" ? keyLoadKey(bytes) : bytes;
}

function useOf(kind: TargetKind): KeyUse {
  return kind === "network" || kind === "mac" ? kind : "link";
}

/** Erased or unused memory. */
function isUniform(bytes: Uint8Array): boolean {
  const [first] = bytes;
  return bytes.every((byte) => byte === first);
}
