import { renameSync } from "node:fs";

import type { PacketMemory } from "@postern/knock/fwknop/verifier";
import type { ReplayState } from "@postern/knock/spa1/replay-window";
import { clockSkewMs, type CounterMemory } from "@postern/knock/spa1/verifier";

import { AppendFile } from "./append-file.ts";
import {
  counterLine,
  headerLine,
  packetLine,
  readAccepted,
  reserveLine,
  unsureLine,
  type DeviceState,
  type Span,
} from "./accepted-lines.ts";
import { bootId, readStateFile, stateError } from "./state-file.ts";

/** Packets without a counter that are remembered at once, each for some minutes. */
const packetsMax = 65_536;
/** Lines that are no longer needed before the file is written anew. */
const staleLinesMax = 10_000;
/** How far ahead of time the disk knows that knocks will be accepted, and what is left of it when it is told again. */
const reserveMs = 20_000;
const reserveLeftMs = 10_000;

/** What answers for a key version that was replaced: everything was accepted before. */
const exhausted: ReplayState = { highest: Number.MAX_SAFE_INTEGER, seen: 2n ** 64n - 1n };

export interface AcceptedMemoryOptions {
  /** Nothing can have been accepted yet: the gate's key was made a moment ago. */
  readonly isNew: boolean;
  readonly nowMs: () => number;
  /** Names the time since the machine was started. */
  readonly boot?: string;
}

/**
 * Which knocks were accepted: the highest counter of each device, and packets that have none. A file of lines that is appended to;
 * nothing may be opened before `hold` resolves.
 *
 * A disk takes milliseconds, now and then a hundred, and a knock is not to wait for it. What is written is the kernel's at once and
 * survives this process; only when the machine loses its power may the last lines be missing. For that, a line that is on the disk
 * beforehand says when packets may have been made that are accepted without waiting: the reserve, renewed before it is used up.
 *
 *        packets made in here do not wait
 *      ├────────────────────┬───────────────┤
 *   now - 60 s             now          now + 20 s
 *
 * After the machine lost its power the reserve that was in force is `unsure`: what was made in it is accepted no more. Packets whose
 * replay nothing but their counter or digest tells wait for the disk.
 *
 * When the file is gone or damaged, what was accepted before is not known any more. Then `lostAtMs` says since when, and stays in the
 * file: a packet from before that must not be accepted.
 */
export class AcceptedMemory implements CounterMemory, PacketMemory, AsyncDisposable {
  readonly lostAtMs: number | undefined;
  readonly #nowMs: () => number;
  readonly #boot: string;
  readonly #devices: Map<string, DeviceState>;
  readonly #packets: Map<string, number>;
  readonly #file: AppendFile;
  readonly #unsure: readonly Span[];
  /** What the file says, on disk or about to be. */
  #promised: Span | undefined;
  /** What the disk says, whichever of the last lines it has. */
  #reserve: Span | undefined;
  #isRenewing = false;
  #lines = 0;
  #pending = "";

  /** Reads the file or, when it is missing or damaged, begins a new one. @throws {GateStateError} */
  constructor(path: string, { isNew, nowMs, boot = bootId() }: AcceptedMemoryOptions) {
    this.#nowMs = nowMs;
    this.#boot = boot;
    const text = readStateFile(path);
    const known = text === undefined ? undefined : readAccepted(text, boot);
    this.#devices = known?.devices ?? new Map();
    this.#packets = known?.packets ?? new Map();
    this.#unsure = known?.unsure ?? [];
    if (known !== undefined) {
      this.lostAtMs = known.lostAtMs;
    } else {
      this.lostAtMs = isNew && text === undefined ? undefined : nowMs();
      if (text !== undefined) setAside(path, nowMs());
    }
    this.#promised = reserveAt(nowMs());
    this.#file = new AppendFile(path, [...this.#whole()].join(""));
    this.#reserve = this.#promised;
    this.#countLines();
  }

  /** The last moment of which packets are refused because the machine lost its power; `undefined` when there is none to come. */
  get unsureUntilMs(): number | undefined {
    const ends = this.#unsure.map(({ untilMs }) => untilMs).filter((untilMs) => untilMs > this.#nowMs());
    return ends.length === 0 ? undefined : Math.max(...ends);
  }

  get(device: string, keyVersion: number): ReplayState | undefined {
    const state = this.#devices.get(device);
    if (state === undefined || state.keyVersion < keyVersion) return undefined;
    return state.keyVersion > keyVersion ? exhausted : state;
  }

  put(device: string, keyVersion: number, { highest, seen }: ReplayState): void {
    const state = { keyVersion, highest, seen };
    this.#devices.set(device, state);
    this.#append(counterLine(device, state));
  }

  mayHaveForgotten(madeAtMs: number): boolean {
    return this.#unsure.some((span) => isWithin(span, madeAtMs));
  }

  has(digest: string): boolean {
    return (this.#packets.get(digest) ?? -Infinity) > this.#nowMs();
  }

  add(digest: string, untilMs: number): boolean {
    if (this.#packets.size >= packetsMax) this.#forgetOldPackets();
    if (this.#packets.size >= packetsMax) return false;
    this.#packets.set(digest, untilMs);
    this.#append(packetLine(digest, untilMs));
    return true;
  }

  /**
   * Resolves when what was put before cannot let this packet in again: at once where the reserve covers the time it was made, and
   * when it is on disk for all others, those without a time (`undefined`) among them. @throws {GateStateError}
   */
  async hold(madeAtMs: number | undefined): Promise<void> {
    this.#write();
    if (madeAtMs !== undefined && isWithin(this.#reserve, madeAtMs)) return;
    await this.flush();
  }

  /** Resolves when all that was put before is on disk. @throws {GateStateError} */
  async flush(): Promise<void> {
    this.#write();
    if (this.#file.isDoubtful) await this.#writeAnew();
    else await this.#file.sync();
  }

  /** Renews the reserve when it is needed, and tidies the file. Called every second or so. @throws {GateStateError} */
  async maintain(): Promise<void> {
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    try {
      if (this.#lines > this.#devices.size + this.#packets.size + staleLinesMax) await this.#writeAnew();
      const nowMs = this.#nowMs();
      const isEnough =
        isWithin(this.#reserve, nowMs - clockSkewMs) && isWithin(this.#reserve, nowMs + reserveLeftMs);
      if (!isEnough) await this.#renew(reserveAt(nowMs));
    } finally {
      this.#isRenewing = false;
    }
  }

  /** Ends the reserve: when the next gate starts, everything is known. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#reserve = undefined;
    this.#promised = undefined;
    try {
      this.#write();
      await this.#file.sync();
      this.#file.append(reserveLine(this.#boot, undefined));
    } catch {
      // Then the reserve stays in force, and the next gate is careful.
    }
    await this.#file[Symbol.asyncDispose]();
  }

  /** Until the disk has the new one, whatever it has at the time when the power fails must cover what did not wait. */
  async #renew(next: Span): Promise<void> {
    this.#promised = next;
    this.#reserve = overlap(this.#reserve, next);
    this.#append(reserveLine(this.#boot, next));
    await this.flush();
    // It may have been closed meanwhile.
    if (this.#promised === next) this.#reserve = next;
  }

  #append(line: string): void {
    this.#pending += line;
    this.#lines += 1;
  }

  #write(): void {
    if (this.#pending === "") return;
    this.#file.append(this.#pending);
    this.#pending = "";
  }

  async #writeAnew(): Promise<void> {
    this.#forgetOldPackets();
    await this.#file.replace(this.#whole());
    this.#countLines();
  }

  *#whole(): Generator<string> {
    yield headerLine(this.lostAtMs);
    for (const span of this.#unsure) yield unsureLine(span);
    yield reserveLine(this.#boot, this.#promised);
    for (const [device, state] of this.#devices) yield counterLine(device, state);
    for (const [digest, untilMs] of this.#packets) yield packetLine(digest, untilMs);
  }

  #countLines(): void {
    this.#lines = this.#devices.size + this.#packets.size;
  }

  #forgetOldPackets(): void {
    const nowMs = this.#nowMs();
    for (const [digest, untilMs] of this.#packets) if (untilMs <= nowMs) this.#packets.delete(digest);
  }
}

function reserveAt(nowMs: number): Span {
  return { fromMs: nowMs - clockSkewMs, untilMs: nowMs + reserveMs };
}

function isWithin(span: Span | undefined, atMs: number): boolean {
  return span !== undefined && span.fromMs <= atMs && atMs <= span.untilMs;
}

function overlap(one: Span | undefined, other: Span): Span | undefined {
  const fromMs = Math.max(one?.fromMs ?? Infinity, other.fromMs);
  const untilMs = Math.min(one?.untilMs ?? -Infinity, other.untilMs);
  return fromMs <= untilMs ? { fromMs, untilMs } : undefined;
}

function setAside(path: string, nowMs: number): void {
  const aside = `${path}.damaged-${nowMs}`;
  try {
    renameSync(path, aside);
  } catch (thrown) {
    throw stateError(`move the damaged ${path} to ${aside}`, thrown);
  }
}
