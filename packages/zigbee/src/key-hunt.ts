import { isWhole } from "./capture/captured-frame.ts";
import { ApsFrameType } from "./aps/aps-frame.ts";
import { type Dissection } from "./dissection.ts";
import { type Eui64 } from "./eui64.ts";
import { type KeyUse } from "./keyring.ts";
import { NwkFrameType } from "./nwk/nwk-frame.ts";
import { type AesKey, createAesKey, encryptWords, expandWords, wordAt } from "./security/aes.ts";
import { type AuxiliaryHeader, KeyIdentifier } from "./security/auxiliary-header.ts";
import { type CcmStarInput, openCcmStar, setCounterWords } from "./security/ccm-star.ts";
import { keyLoadKey, keyTransportKey } from "./security/link-key.ts";
import { LinkKeyDeriver } from "./security/link-key-deriver.ts";
import { securityLevel } from "./security/levels.ts";
import { createNonce, setMacNonce, setZigbeeNonce } from "./security/nonce.ts";

/** Frames that one key opens, or several of one network do: the first tells, the others confirm. */
const targetsMax = 8;
/** Networks and pairs of devices whose keys are looked for at a time. */
const groupsMax = 64;
const keyBytes = 16;
/** Fewer different bytes than that have fillings, tables and empty memory; of all keys one in 10^19. */
const differentBytesMin = 4;
/** Commands of the network layer end here, with room for those that are not defined yet. */
const nwkCommandMax = 0x1f;
/** Levels with an integrity code: without one, nothing tells a right key from a wrong one. */
const usualLevel = 5;

/** Which key of a device a frame needs. */
type TargetKind = "network" | "link" | "link-transport" | "link-load" | "mac";

/** A protected frame that no known key opens. */
interface Target {
  readonly input: CcmStarInput;
  readonly frame: number;
  readonly opening: Opening | undefined;
}

/** Frames that belong together. */
interface Group {
  readonly kind: TargetKind;
  targets: readonly Target[];
}

/** What the first byte of an encrypted payload can be: one block tells nearly all wrong keys, where the whole frame takes eight. */
interface Opening {
  /** The block whose encryption the payload begins with. */
  readonly counterBlock: Uint32Array;
  readonly firstByte: number;
  readonly isPossible: (byte: number) => boolean;
  /** How many of 256 values are. */
  readonly possible: number;
}

/** Which bytes stand first in the payload of a frame that is what it seems to be. @see Zigbee §2.2.5.1, §3.4, §4.4.10 */
function openingOf(kind: TargetKind, input: CcmStarInput, isCommand: boolean): Opening | undefined {
  if (!input.level.encrypted) return undefined;
  let isPossible: (byte: number) => boolean;
  // The keys derived from a link key protect Transport Key commands only.
  if (kind === "link-transport" || kind === "link-load") isPossible = (byte) => byte === 0x05;
  else if (kind !== "network") return undefined;
  else if (isCommand) isPossible = (byte) => byte >= 0x01 && byte <= nwkCommandMax;
  else isPossible = (byte) => (byte & 3) !== ApsFrameType.interPan;
  const counterBlock = new Uint32Array(4);
  setCounterWords(counterBlock, input.nonce, 1);
  const possible = Array.from({ length: 256 }, (_, byte) => byte).filter(isPossible).length;
  return { counterBlock, firstByte: input.bytes[input.payloadStart] ?? 0, isPossible, possible };
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
  readonly #deriver = new LinkKeyDeriver();
  readonly #key = createAesKey(new Uint8Array(keyBytes));
  readonly #forwards = new Uint32Array(4);
  readonly #backwards = new Uint32Array(4);
  readonly #derived = new Uint32Array(4);
  readonly #block = new Uint32Array(4);
  /** The groups, those of one kind together. */
  #sorted: readonly Group[] = [];

  /** `level`: of NWK and APS frames, where it is not the usual one. Throws `RangeError` for one without integrity code. */
  constructor(level: number = usualLevel) {
    if (securityLevel(level).micBytes === 0) {
      throw new RangeError(`at level ${level} no frame tells a right key from a wrong one`);
    }
    this.#level = level;
  }

  /** Takes a frame as a target when no known key has opened it. */
  see(dissection: Dissection, sourceOf: (pan: number, short: number) => Eui64 | undefined): void {
    if (!isWhole(dissection.frame)) return;
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
      this.#add("mac", source, { input, frame: frame.number, opening: undefined });
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
    this.#sorted = [...this.#groups.values()].sort((a, b) => a.kind.localeCompare(b.kind));
    const counts = new Uint8Array(256);
    let different = 0;
    for (let offset = 1 - keyBytes; offset + keyBytes <= dump.length; offset++) {
      // The window moves on by one byte.
      const [entering, leaving] = [dump[offset + keyBytes - 1] ?? 0, dump[offset - 1] ?? 0];
      const before = counts[entering] ?? 0;
      if (before === 0) different++;
      counts[entering] = before + 1;
      if (offset > 0) {
        const rest = (counts[leaving] ?? 0) - 1;
        if (rest === 0) different--;
        counts[leaving] = rest;
      }
      if (offset < 0) continue;
      if (offset % everyBytes === 0) yield { offset };
      if (different < differentBytesMin) continue;
      for (let index = 0; index < 4; index++) {
        const forwards = wordAt(dump, offset + 4 * index);
        this.#forwards[index] = forwards;
        this.#backwards[3 - index] = swapped(forwards);
      }
      if (this.#mayOpen(this.#forwards))
        yield* this.#try(dump.slice(offset, offset + keyBytes), offset, false);
      if (this.#mayOpen(this.#backwards)) {
        yield* this.#try(dump.slice(offset, offset + keyBytes).toReversed(), offset, true);
      }
    }
  }

  /** Whether a key, as four words, opens the first frame of any group. */
  #mayOpen(words: Uint32Array): boolean {
    let expanded: TargetKind | undefined;
    for (const { kind, targets } of this.#sorted) {
      const [first] = targets;
      if (first === undefined) continue;
      if (kind !== expanded) {
        if (kind === "link-transport" || kind === "link-load") {
          this.#deriver.derive(words, kind === "link-load" ? 0x02 : 0x00, this.#derived);
          expandWords(this.#key, this.#derived);
        } else {
          expandWords(this.#key, words);
        }
        expanded = kind;
      }
      const { opening } = first;
      if (opening !== undefined) {
        this.#block.set(opening.counterBlock);
        encryptWords(this.#key, this.#block);
        if (!opening.isPossible(opening.firstByte ^ ((this.#block[0] ?? 0) >>> 24))) continue;
      }
      if (this.#opens(this.#key, first.input)) return true;
    }
    return false;
  }

  *#try(bytes: Uint8Array, offset: number, reversed: boolean): Generator<HuntedKey> {
    for (const { kind, targets } of this.#groups.values()) {
      const [first] = targets;
      const key = createAesKey(derived(kind, bytes));
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
    { frame, mac, nwk }: Dissection,
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
    const isCommand = nwk?.frameType === NwkFrameType.command;
    this.#add(kind, owner, { input, frame: frame.number, opening: openingOf(kind, input, isCommand) });
  }

  /** Of many, those stay that tell a wrong key fastest: by their first byte, then by being short. */
  #add(kind: TargetKind, owner: string, target: Target): void {
    const name = `${kind} ${owner}`;
    const group = this.#groups.get(name) ?? { kind, targets: [] };
    if (!this.#groups.has(name) && this.#groups.size >= groupsMax) return;
    const sorted = [...group.targets, target].sort(
      (a, b) =>
        (a.opening?.possible ?? 256) - (b.opening?.possible ?? 256) ||
        a.input.payloadEnd - b.input.payloadEnd,
    );
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

/** The word with its bytes in the other order. */
function swapped(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
