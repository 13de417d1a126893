import assert from "node:assert/strict";
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  fsyncSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { crc32 } from "node:zlib";

import { errorCode, errorText } from "@postern/core/errors";

import { PkiFileError } from "./errors.ts";
import { attempt, checkSecretMode, moveIntoPlace } from "./files.ts";

const newline = 0x0a;
const checksumDigits = 8;
const mend = "put it back from a backup";
const appending = constants.O_RDWR | constants.O_APPEND;
/** About so many characters are written at once. */
const chunkLength = 1 << 20;

function temporaryOf(path: string): string {
  return `${path}.tmp`;
}

/** A journal with nothing in it but its header. */
export function emptyJournal(header: object): string {
  return encode(header);
}

/** One line: the CRC-32 of the JSON in 8 hexadecimal digits, a space, the JSON, a line feed. */
function encode(entry: unknown): string {
  const json = JSON.stringify(entry);
  return `${crc32(json).toString(16).padStart(checksumDigits, "0")} ${json}\n`;
}

/** The JSON of a line without its line feed; `undefined` when the checksum says that it is not what was written. */
function decode(line: Buffer): { readonly value: unknown } | undefined {
  if (line[checksumDigits] !== 0x20) return undefined;
  const json = line.subarray(checksumDigits + 1);
  const checksum = crc32(json).toString(16).padStart(checksumDigits, "0");
  if (line.toString("latin1", 0, checksumDigits) !== checksum) return undefined;
  try {
    return { value: JSON.parse(json.toString("utf8")) };
  } catch {
    return undefined;
  }
}

export interface JournalOptions {
  readonly path: string;
  /** The first line: what the file is and of which version. */
  readonly header: object;
  /** The file for people, as in "the list of devices". */
  readonly title: string;
  /** Changes nothing, not even what a crash tore off: for whoever looks while another process may have it open. */
  readonly readOnly?: boolean;
  /** Told each entry in order; what it throws is a description of what is wrong with it. */
  readonly take: (entry: unknown) => void;
}

/**
 * A file that changes are appended to, one line each, on disk when `append` returns. Each line has a checksum. What a crash
 * tore off at the end is cut away when the file is opened: it was never acknowledged. Anything else that is not what was
 * written is an error, for a lost line may be a revocation.
 *
 *     1f0c2a77 {"postern":1,"file":"devices"}\n      header
 *     9be1d0c4 {"put":[…]}\n                          entries, each complete in itself
 *
 * One process at a time may have it open: that is the caller's to see to.
 */
export class Journal {
  readonly #options: JournalOptions;
  #descriptor: number | undefined;
  #bytes = 0;
  #entries = 0;
  #isClosed = false;

  /** Reads what there is; a missing file is made by the first change. @throws {PkiFileError | DataDirectoryError} */
  constructor(options: JournalOptions) {
    this.#options = options;
    const { path } = options;
    if (options.readOnly !== true)
      attempt(`remove ${temporaryOf(path)}`, () => rmSync(temporaryOf(path), { force: true }));
    this.#descriptor = this.#open();
    if (this.#descriptor === undefined) return;
    try {
      checkSecretMode(path, fstatSync(this.#descriptor).mode);
      this.#read(attempt(`read ${path}`, () => readFileSync(path)));
    } catch (thrown) {
      this.close();
      throw thrown;
    }
  }

  /** Whether there is a file. */
  get exists(): boolean {
    return this.#descriptor !== undefined;
  }

  /** How many entries the file holds. */
  get entries(): number {
    return this.#entries;
  }

  /** Appends one entry; it is on disk when this returns. When it throws, the file is as it was. @throws {DataDirectoryError} */
  append(entry: unknown): void {
    assert(this.#options.readOnly !== true, "the journal is only read");
    const descriptor = this.#descriptor;
    if (descriptor === undefined) {
      this.rewrite([entry]);
      return;
    }
    const bytes = Buffer.from(encode(entry));
    attempt(`write ${this.#options.path}`, () => {
      try {
        writeAll(descriptor, bytes);
        fdatasyncSync(descriptor);
      } catch (thrown) {
        // Half a line must not stay in front of the next. Should this fail as well, the next start cuts it away.
        ftruncateSync(descriptor, this.#bytes);
        throw thrown;
      }
    });
    this.#bytes += bytes.length;
    this.#entries += 1;
  }

  /** Replaces all by `entries`, in one step. @throws {DataDirectoryError} and leaves the file as it was. */
  rewrite(entries: Iterable<unknown>): void {
    const { path } = this.#options;
    const written = attempt(`write ${path}`, () => this.#writeTemporary(entries));
    try {
      moveIntoPlace(temporaryOf(path), path);
    } catch (thrown) {
      closeSync(written.descriptor);
      throw thrown;
    }
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = written.descriptor;
    this.#bytes = written.bytes;
    this.#entries = written.entries;
  }

  /** Gives the file back; nothing can be written any more. */
  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
    this.#isClosed = true;
  }

  #writeTemporary(entries: Iterable<unknown>): { descriptor: number; bytes: number; entries: number } {
    assert(!this.#isClosed && this.#options.readOnly !== true, "the journal is closed, or only read");
    const temporary = temporaryOf(this.#options.path);
    rmSync(temporary, { force: true });
    const descriptor = openSync(temporary, appending | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      let text = encode(this.#options.header);
      let count = 0;
      for (const entry of entries) {
        text += encode(entry);
        count += 1;
        if (text.length < chunkLength) continue;
        writeAll(descriptor, Buffer.from(text));
        text = "";
      }
      writeAll(descriptor, Buffer.from(text));
      fsyncSync(descriptor);
      return { descriptor, bytes: fstatSync(descriptor).size, entries: count };
    } catch (thrown) {
      closeSync(descriptor);
      throw thrown;
    }
  }

  #open(): number | undefined {
    const { path } = this.#options;
    return attempt(`open ${path}`, () => {
      try {
        return openSync(path, this.#options.readOnly === true ? constants.O_RDONLY : appending);
      } catch (thrown) {
        if (errorCode(thrown) === "ENOENT") return undefined;
        throw thrown;
      }
    });
  }

  #read(bytes: Buffer): void {
    const header = JSON.stringify(this.#options.header);
    let start = 0;
    for (let line = 1; start < bytes.length; line += 1) {
      const end = bytes.indexOf(newline, start);
      const text = bytes.subarray(start, end < 0 ? bytes.length : end);
      const isLast = end < 0 || end === bytes.length - 1;
      const decoded = end < 0 ? undefined : decode(text);
      if (decoded === undefined && isLast && line > 1 && (end < 0 || text.includes(0))) {
        // Not all of the last write came to the disk: the line ends early, or a block of it is still empty.
        this.#cut(start);
        return;
      }
      if (decoded === undefined) throw this.#damaged(line, "the checksum does not fit");
      if (line === 1) {
        if (JSON.stringify(decoded.value) !== header)
          throw this.#damaged(line, `it is not ${header}, as this version writes it`);
      } else {
        this.#take(line, decoded.value);
      }
      start = end + 1;
    }
    if (start === 0) throw this.#damaged(1, "it is empty");
    this.#bytes = start;
  }

  #take(line: number, entry: unknown): void {
    try {
      this.#options.take(entry);
    } catch (thrown) {
      throw this.#damaged(line, errorText(thrown));
    }
    this.#entries += 1;
  }

  #cut(bytes: number): void {
    const descriptor = this.#descriptor;
    if (descriptor !== undefined && this.#options.readOnly !== true) {
      attempt(`repair ${this.#options.path}`, () => {
        ftruncateSync(descriptor, bytes);
        fsyncSync(descriptor);
      });
    }
    this.#bytes = bytes;
  }

  #damaged(line: number, problem: string): PkiFileError {
    const { path, title } = this.#options;
    return new PkiFileError(`${path}, ${title}, is damaged in line ${line} (${problem}): ${mend}`);
  }
}

function writeAll(descriptor: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length;) done += writeSync(descriptor, bytes.subarray(done));
}
