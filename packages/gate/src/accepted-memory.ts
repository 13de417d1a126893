import { constants, renameSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";

import type { PacketMemory } from "@postern/knock/fwknop/verifier";
import type { ReplayState } from "@postern/knock/spa1/replay-window";
import type { CounterMemory } from "@postern/knock/spa1/verifier";
import { z } from "zod";

import { decodeLine, encodeLine, readStateFile, replaceStateFile, stateError } from "./state-file.ts";

const headerSchema = z.strictObject({
  postern: z.literal(1),
  file: z.literal("accepted-knocks"),
  /** When all that was known was lost, ms since 1970; `null` when nothing was. */
  lostAtMs: z.int().nullable(),
});

const lineSchema = z.union([
  /** A device's window: name, key version, highest counter, which of the 64 below it were accepted. */
  z.strictObject({
    c: z.tuple([z.string(), z.int().min(1), z.int().min(0), z.string().regex(/^[0-9a-f]{1,16}$/)]),
  }),
  /** A packet without a counter: its digest, and until when it is remembered. */
  z.strictObject({ p: z.tuple([z.string().max(128), z.int()]) }),
]);

interface DeviceState extends ReplayState {
  readonly keyVersion: number;
}

/** Packets without a counter that are remembered at once, each for some minutes. */
const packetsMax = 65_536;
/** Lines that are no longer needed before the file is written anew. */
const staleLinesMax = 10_000;

/** What answers for a key version that was replaced: everything was accepted before. */
const exhausted: ReplayState = { highest: Number.MAX_SAFE_INTEGER, seen: 2n ** 64n - 1n };

/**
 * Which knocks were accepted: the highest counter of each device, and packets that have none. A file of lines that is appended to;
 * nothing may be opened before `flush` has brought what it rests on to the disk.
 *
 * When the file is gone or damaged, what was accepted before is not known any more. Then `lostAtMs` says since when, and stays in the
 * file: a packet from before that must not be accepted.
 */
export class AcceptedMemory implements CounterMemory, PacketMemory, AsyncDisposable {
  readonly lostAtMs: number | undefined;
  readonly #path: string;
  readonly #nowMs: () => number;
  readonly #devices = new Map<string, DeviceState>();
  readonly #packets = new Map<string, number>();
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #lines = 0;
  #pending = "";
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /**
   * Reads the file or, when it is missing or damaged, begins a new one. `isNew` says that nothing can have been accepted yet: the
   * gate's key was made a moment ago. @throws {GateStateError}
   */
  constructor(path: string, { isNew, nowMs }: { readonly isNew: boolean; readonly nowMs: () => number }) {
    this.#path = path;
    this.#nowMs = nowMs;
    const text = readStateFile(path);
    const lostAtMs = text === undefined ? undefined : this.#read(text);
    if (lostAtMs !== undefined) {
      this.lostAtMs = lostAtMs ?? undefined;
    } else {
      this.#devices.clear();
      this.#packets.clear();
      this.lostAtMs = isNew && text === undefined ? undefined : nowMs();
      if (text !== undefined) setAside(path, nowMs());
    }
    this.#rewrite();
  }

  get(device: string, keyVersion: number): ReplayState | undefined {
    const state = this.#devices.get(device);
    if (state === undefined || state.keyVersion < keyVersion) return undefined;
    return state.keyVersion > keyVersion ? exhausted : state;
  }

  put(device: string, keyVersion: number, { highest, seen }: ReplayState): void {
    this.#devices.set(device, { keyVersion, highest, seen });
    this.#append({ c: [device, keyVersion, highest, seen.toString(16)] });
  }

  has(digest: string): boolean {
    return (this.#packets.get(digest) ?? -Infinity) > this.#nowMs();
  }

  add(digest: string, untilMs: number): boolean {
    if (this.#packets.size >= packetsMax) this.#forgetOldPackets();
    if (this.#packets.size >= packetsMax) return false;
    this.#packets.set(digest, untilMs);
    this.#append({ p: [digest, Math.ceil(untilMs)] });
    return true;
  }

  /** Resolves when all that was put before is on disk. What comes while one group is written goes with the next. @throws {GateStateError} */
  flush(): Promise<void> {
    if (this.#pending === "" && this.#next === undefined) return this.#writing ?? Promise.resolve();
    this.#next ??= (this.#writing ?? Promise.resolve())
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        this.#writing = this.#write().finally(() => {
          this.#writing = undefined;
        });
        return this.#writing;
      });
    return this.#next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush().catch(() => undefined);
    await this.#file?.close();
    this.#file = undefined;
  }

  #append(line: z.infer<typeof lineSchema>): void {
    this.#pending += encodeLine(line);
    this.#lines += 1;
  }

  async #write(): Promise<void> {
    if (this.#lines > this.#devices.size + this.#packets.size + staleLinesMax) {
      // Everything that is pending is in the new file.
      await this.#file?.close();
      this.#file = undefined;
      this.#rewrite();
      return;
    }
    const bytes = Buffer.from(this.#pending);
    this.#pending = "";
    try {
      this.#file ??= await open(this.#path, constants.O_WRONLY | constants.O_APPEND);
      await this.#file.appendFile(bytes);
      await this.#file.datasync();
      this.#fileBytes += bytes.length;
    } catch (thrown) {
      this.#pending = bytes.toString() + this.#pending;
      // Half a line must not stay in front of the next.
      await this.#file?.truncate(this.#fileBytes).catch(() => undefined);
      throw stateError(`write ${this.#path}`, thrown);
    }
  }

  #rewrite(): void {
    this.#forgetOldPackets();
    const header = { postern: 1, file: "accepted-knocks", lostAtMs: this.lostAtMs ?? null };
    let text = encodeLine(header);
    for (const [device, { keyVersion, highest, seen }] of this.#devices) {
      text += encodeLine({ c: [device, keyVersion, highest, seen.toString(16)] });
    }
    for (const packet of this.#packets) text += encodeLine({ p: packet });
    replaceStateFile(this.#path, text);
    this.#pending = "";
    this.#fileBytes = Buffer.byteLength(text);
    this.#lines = this.#devices.size + this.#packets.size;
  }

  #forgetOldPackets(): void {
    const nowMs = this.#nowMs();
    for (const [digest, untilMs] of this.#packets) if (untilMs <= nowMs) this.#packets.delete(digest);
  }

  /** @returns what the header says of a loss; `undefined` when the file is damaged. A last line that a crash tore off never counted. */
  #read(text: string): number | null | undefined {
    const lines = text.split("\n");
    lines.pop();
    const header = headerSchema.safeParse(decodeLine(lines.shift() ?? ""));
    if (!header.success) return undefined;
    for (const each of lines) {
      const line = lineSchema.safeParse(decodeLine(each));
      if (!line.success) return undefined;
      if ("p" in line.data) {
        this.#packets.set(...line.data.p);
        continue;
      }
      const [device, keyVersion, highest, seen] = line.data.c;
      this.#devices.set(device, { keyVersion, highest, seen: BigInt(`0x${seen}`) });
    }
    return header.data.lostAtMs;
  }
}

function setAside(path: string, nowMs: number): void {
  const aside = `${path}.damaged-${nowMs}`;
  try {
    renameSync(path, aside);
  } catch (thrown) {
    throw stateError(`move the damaged ${path} to ${aside}`, thrown);
  }
}
