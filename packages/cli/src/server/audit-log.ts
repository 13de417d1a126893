import { createHash } from "node:crypto";
import {
  closeSync,
  fstatSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

import type { AuditEvent, AuditLog } from "@postern/broker/ports";
import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";

/** An event of enrolment. Never holds a secret. */
export interface EnrolmentEvent {
  readonly kind:
    | "enrolled"
    | "renewed"
    | "enrolment-refused"
    | "renewal-refused"
    | "enrolment-token-made"
    | "enrolment-token-cancelled";
  /** Where the request came from; empty for the administrator's. */
  readonly address: string;
  /** The device, as claimed by whoever was refused. */
  readonly identity: string;
  readonly detail: string;
}

/** What the first line's `previous` is. */
const beginning = "0".repeat(64);

const lineBytesMax = 65_536;

/** More events of one kind within a second are counted and written as one: a flood must not fill the disk, nor hide other kinds. */
const eventsPerSecondMax = 500;

/** A file of this size is put aside, and of those put aside the newest stay: 640 MiB in all. */
const fileBytesMax = 67_108_864;
const oldFilesMax = 9;

const current = "audit.jsonl";

function digest(line: string): string {
  return createHash("sha256").update(line).digest("hex");
}

/** The last whole line of an open file; empty for none. What a crash left of a line is not one. */
function lastLine(descriptor: number): string {
  const { size } = fstatSync(descriptor);
  const length = Math.min(size, 2 * lineBytesMax);
  const buffer = Buffer.alloc(length);
  readSync(descriptor, buffer, 0, length, size - length);
  const lines = buffer.toString("utf8").split("\n").slice(0, -1);
  return lines.findLast((line) => line !== "") ?? "";
}

/** Opens the file to append to, and makes sure that it ends with a whole line. */
function open(directory: string): number {
  const descriptor = openSync(join(directory, current), "a+", 0o600);
  const { size } = fstatSync(descriptor);
  const tail = Buffer.alloc(1);
  // A line that a crash cut short must not swallow the next one.
  if (size > 0 && readSync(descriptor, tail, 0, 1, size - 1) === 1 && tail[0] !== 0x0a)
    writeSync(descriptor, "\n");
  return descriptor;
}

function removeOldest(directory: string): void {
  const old = readdirSync(directory).filter((name) => /^audit-.*\.jsonl$/.test(name));
  for (const name of old.sort().slice(0, -oldFilesMax)) rmSync(join(directory, name), { force: true });
}

/**
 * Security events, one JSON object a line, in `audit.jsonl`. Each line holds the SHA-256 of the line before it, also over
 * the end of a file, so that a line that was changed or taken out shows. Lines are collected for one turn of the event loop and
 * written together.
 */
export class FileAuditLog implements AuditLog, Disposable {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #fileBytesMax: number;
  #descriptor: number;
  #bytes: number;
  #previous: string;
  #pending: string[] = [];
  #second = 0;
  readonly #eventsInSecond = new Map<string, number>();
  #failed = false;

  constructor(
    directory: string,
    options: { readonly clock: Clock; readonly log: Log; readonly fileBytesMax?: number },
  ) {
    this.#directory = directory;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#fileBytesMax = options.fileBytesMax ?? fileBytesMax;
    this.#descriptor = open(directory);
    this.#bytes = fstatSync(this.#descriptor).size;
    const last = lastLine(this.#descriptor);
    this.#previous = last === "" ? beginning : digest(last);
  }

  record(event: AuditEvent): void {
    this.#recordLimited(event);
  }

  /** What became of a request for a certificate or a token, over the network or by the administrator. */
  recordEnrolment(event: EnrolmentEvent): void {
    this.#recordLimited(event);
  }

  #recordLimited(event: AuditEvent | EnrolmentEvent): void {
    const second = Math.floor(this.#clock.wallMs() / 1000);
    if (second !== this.#second) this.#beginSecond(second);
    const count = (this.#eventsInSecond.get(event.kind) ?? 0) + 1;
    this.#eventsInSecond.set(event.kind, count);
    if (count <= eventsPerSecondMax) this.#append({ ...event });
  }

  /** Something the server itself did. */
  recordServer(kind: "started" | "stopped" | "backup" | "reloaded" | "device", detail: string): void {
    this.#append({ kind, detail });
  }

  [Symbol.dispose](): void {
    this.#beginSecond(0);
    this.#flush();
    closeSync(this.#descriptor);
  }

  #beginSecond(second: number): void {
    for (const [kind, count] of this.#eventsInSecond) {
      const more = count - eventsPerSecondMax;
      if (more > 0)
        this.#append({ kind: "suppressed", detail: `${more} more events "${kind}" within one second` });
    }
    this.#eventsInSecond.clear();
    this.#second = second;
  }

  #append(fields: object): void {
    const time = new Date(this.#clock.wallMs()).toISOString();
    const line = JSON.stringify({ time, ...fields, previous: this.#previous });
    this.#previous = digest(line);
    this.#pending.push(line);
    if (this.#pending.length === 1) setImmediate(() => this.#flush());
  }

  #flush(): void {
    if (this.#pending.length === 0) return;
    const text = Buffer.from(`${this.#pending.join("\n")}\n`);
    this.#pending = [];
    try {
      if (this.#bytes > 0 && this.#bytes + text.length > this.#fileBytesMax) this.#rotate();
      this.#bytes += writeSync(this.#descriptor, text);
      this.#failed = false;
    } catch (thrown) {
      // Once: a full disk must not fill the log as well.
      if (!this.#failed) this.#log.error({ error: errorText(thrown) }, "the audit log cannot be written");
      this.#failed = true;
    }
  }

  #rotate(): void {
    const stamp = new Date(this.#clock.wallMs()).toISOString().replace(/[:.]/g, "-");
    renameSync(join(this.#directory, current), join(this.#directory, `audit-${stamp}.jsonl`));
    closeSync(this.#descriptor);
    this.#descriptor = open(this.#directory);
    this.#bytes = 0;
    removeOldest(this.#directory);
  }
}
