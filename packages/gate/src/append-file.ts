import {
  closeSync,
  fdatasync,
  fsync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  write,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";

import { replaceStateFile, stateError } from "./state-file.ts";

const dataToDisk = promisify(fdatasync);
const allToDisk = promisify(fsync);
const writeSome = promisify(write);

/** Bytes of a new file that are put together between two turns of the event loop. */
const sliceBytes = 16_384;

/**
 * A file that is appended to, with two strengths of keeping: what `append` took outlives this process, as the kernel has it;
 * what `sync` brought to the disk outlives the machine's power.
 */
export class AppendFile implements AsyncDisposable {
  readonly #path: string;
  #descriptor: number;
  #bytes: number;
  #appended = 0;
  #synced = 0;
  /** The disk said that it failed. What it has of the file is unknown, and it would not say so again. */
  #isDoubtful = false;
  /** What was appended since a new file was begun. */
  #since: Buffer[] | undefined;
  #turn: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /** Begins the file with this text, on disk, mode 0600, in place of any that is there. @throws {GateStateError} */
  constructor(path: string, text: string) {
    this.#path = path;
    replaceStateFile(path, text);
    try {
      this.#descriptor = openSync(path, "a");
    } catch (thrown) {
      throw stateError(`open ${path}`, thrown);
    }
    this.#bytes = Buffer.byteLength(text);
  }

  /** Some ten microseconds: it waits for no disk, unless the machine has no memory left for what its disks are to take. @throws {GateStateError} */
  append(text: string): void {
    const bytes = Buffer.from(text);
    try {
      writeAll(this.#descriptor, bytes);
    } catch (thrown) {
      // Half a line must not stay in front of the next.
      this.#cutOff();
      throw stateError(`write ${this.#path}`, thrown);
    }
    this.#bytes += bytes.length;
    this.#appended += 1;
    this.#since?.push(bytes);
  }

  /** Resolves when all that was appended before is on disk. What comes while one group is brought there goes with the next. @throws {GateStateError} */
  sync(): Promise<void> {
    if (this.#synced === this.#appended && !this.#isDoubtful) return Promise.resolve();
    this.#next ??= this.#inTurn(async () => {
      this.#next = undefined;
      await this.#sync();
    });
    return this.#next;
  }

  get isDoubtful(): boolean {
    return this.#isDoubtful;
  }

  /**
   * Puts a new file in place, with these lines and what is appended meanwhile, and resolves when it is on disk. Goes on in between: what
   * the lines are read from may change as long as its change is appended too. @throws {GateStateError}, and the old file stays.
   */
  replace(lines: Iterable<string>): Promise<void> {
    return this.#inTurn(async () => {
      const temporary = `${this.#path}.tmp`;
      let made: number | undefined;
      try {
        rmSync(temporary, { force: true });
        made = openSync(temporary, "ax", 0o600);
        this.#since = [];
        let bytes = 0;
        for (const slice of slices(lines)) bytes += await writeSlice(made, slice);
        await dataToDisk(made);
        // In one turn, so that nothing is appended in between.
        const since = Buffer.concat(this.#since);
        writeAll(made, since);
        renameSync(temporary, this.#path);
        closeSync(this.#descriptor);
        this.#descriptor = made;
        made = undefined;
        this.#bytes = bytes + since.length;
      } catch (thrown) {
        if (made !== undefined) closeSync(made);
        throw stateError(`write ${this.#path} anew`, thrown);
      } finally {
        this.#since = undefined;
      }
      this.#isDoubtful = false;
      await this.#sync();
      await this.#syncDirectory();
    });
  }

  /** Brings all to the disk, if it can. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.sync().catch(() => undefined);
    await this.#turn;
    closeSync(this.#descriptor);
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #sync(): Promise<void> {
    const appended = this.#appended;
    try {
      if (this.#isDoubtful) throw new Error("an earlier write failed");
      await dataToDisk(this.#descriptor);
    } catch (thrown) {
      this.#isDoubtful = true;
      throw stateError(`write ${this.#path}`, thrown);
    }
    this.#synced = appended;
  }

  async #syncDirectory(): Promise<void> {
    const directory = openSync(dirname(this.#path), "r");
    try {
      await allToDisk(directory);
    } catch (thrown) {
      this.#isDoubtful = true;
      throw stateError(`write ${this.#path} anew`, thrown);
    } finally {
      closeSync(directory);
    }
  }

  #cutOff(): void {
    try {
      ftruncateSync(this.#descriptor, this.#bytes);
    } catch {
      this.#isDoubtful = true;
    }
  }
}

function writeAll(descriptor: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at);
}

async function writeSlice(descriptor: number, text: string): Promise<number> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length;) at += (await writeSome(descriptor, bytes, at)).bytesWritten;
  return bytes.length;
}

function* slices(lines: Iterable<string>): Generator<string> {
  let slice = "";
  for (const line of lines) {
    slice += line;
    if (slice.length < sliceBytes) continue;
    yield slice;
    slice = "";
  }
  yield slice;
}
