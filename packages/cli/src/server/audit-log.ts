import { hash } from "node:crypto";
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

import { beginning, currentAuditFile, oldAuditFiles, oldFilesMax } from "./audit-files.ts";

/** An event of enrolment. Never holds a secret. */
export interface EnrolmentEvent {
  readonly kind:
    | "enrolled"
    | "renewed"
    | "enrolment-refused"
    | "renewal-refused"
    | "enrolment-token-made"
    | "enrolment-token-cancelled"
    | "enrolment-claim-made"
    | "enrolment-claim-revoked";
  /** Where the request came from; empty for the administrator's. */
  readonly address: string;
  /** The device, as claimed by whoever was refused. */
  readonly identity: string;
  readonly detail: string;
}

/** What was found out, or not, about the certificate of a device that another authority issued. */
export interface ForeignCertificateEvent {
  readonly kind: "revocation-undetermined" | "certificate-withdrawn";
  readonly identity: string;
  readonly detail: string;
}

/** Two lines of the longest that can be. */
const tailBytes = 131_072;

/** More events of one kind within a second are counted and written as one: a flood must not fill the disk, nor hide other kinds. */
const eventsPerSecondMax = 500;

/** A file of this size is put aside. */
const fileBytesMax = 67_108_864;

/** Where a log goes on. */
interface End {
  readonly descriptor: number;
  readonly bytes: number;
  /** SHA-256 of the last line, in this file or the one before it. */
  readonly previous: string;
  /** When a crash cut the last line short: SHA-256 of the line before it. */
  readonly before: string | undefined;
}

/** The last two lines of a file, as far as there are any; the last one may have been cut short. */
function lastLines(path: string): { readonly lines: readonly string[]; readonly whole: boolean } {
  const descriptor = openSync(path, "r");
  try {
    const { size } = fstatSync(descriptor);
    const length = Math.min(size, tailBytes);
    const buffer = Buffer.alloc(length);
    readSync(descriptor, buffer, 0, length, size - length);
    const text = buffer.toString("utf8");
    const lines = text.split("\n").filter((line) => line !== "");
    return { lines: lines.slice(-2), whole: text === "" || text.endsWith("\n") };
  } finally {
    closeSync(descriptor);
  }
}

/** Opens the file to append to, and makes sure that it ends with a line of its own: what was cut short must not swallow the next. */
function open(directory: string): End {
  const path = join(directory, currentAuditFile);
  const descriptor = openSync(path, "a", 0o600);
  const { lines, whole } = lastLines(path);
  if (!whole) writeSync(descriptor, "\n");
  const bytes = fstatSync(descriptor).size;
  // The file before may have been put aside just before a crash.
  const oldest = oldAuditFiles(readdirSync(directory)).at(-1);
  const earlier = oldest === undefined ? undefined : lastLines(join(directory, oldest)).lines.at(-1);
  const link = earlier === undefined ? beginning : digest(earlier);
  const last = lines.at(-1);
  if (last === undefined) return { descriptor, bytes, previous: link, before: undefined };
  const beforeLast = lines.length > 1 ? lines.at(-2) : undefined;
  const before = beforeLast === undefined ? link : digest(beforeLast);
  return { descriptor, bytes, previous: digest(last), before: whole ? undefined : before };
}

/** Puts the current file aside under a name that sorts after all others, also when the clock was set back. */
function putAside(directory: string, nowMs: number): void {
  const old = oldAuditFiles(readdirSync(directory));
  const newest = old.at(-1) ?? "";
  const stamp = `audit-${new Date(nowMs).toISOString().replace(/[:.]/g, "-")}.jsonl`;
  const name = stamp > newest ? stamp : newest.replace(/\.jsonl$/, "_.jsonl");
  renameSync(join(directory, currentAuditFile), join(directory, name));
  for (const superfluous of [...old, name].slice(0, -oldFilesMax))
    rmSync(join(directory, superfluous), { force: true });
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
  #end: End;
  #bytes: number;
  #previous: string;
  #pending: object[] = [];
  #second = 0;
  readonly #eventsInSecond = new Map<string, number>();
  /** Events that could not be written since the last that could. */
  #lostCount = 0;

  constructor(
    directory: string,
    options: { readonly clock: Clock; readonly log: Log; readonly fileBytesMax?: number },
  ) {
    this.#directory = directory;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#fileBytesMax = options.fileBytesMax ?? fileBytesMax;
    this.#end = open(directory);
    this.#bytes = this.#end.bytes;
    this.#previous = this.#end.previous;
  }

  /** SHA-256 of the last line, which is on its way to the disk. */
  get head(): string {
    this.#flush();
    return this.#previous;
  }

  record(event: AuditEvent): void {
    this.#recordLimited(event);
  }

  /** What became of a request for a certificate or a token, over the network or by the administrator. */
  recordEnrolment(event: EnrolmentEvent): void {
    this.#recordLimited(event);
  }

  recordForeignCertificate(event: ForeignCertificateEvent): void {
    this.#recordLimited(event);
  }

  #recordLimited(event: AuditEvent | EnrolmentEvent | ForeignCertificateEvent): void {
    const second = Math.floor(this.#clock.wallMs() / 1000);
    if (second !== this.#second) this.#beginSecond(second);
    const count = (this.#eventsInSecond.get(event.kind) ?? 0) + 1;
    this.#eventsInSecond.set(event.kind, count);
    if (count <= eventsPerSecondMax) this.#append({ ...event });
  }

  /** Something the server itself did. */
  recordServer(
    kind:
      | "started"
      | "stopped"
      | "backup"
      | "reloaded"
      | "device"
      | "permissions-loaded"
      | "permissions-broken",
    detail: string,
  ): void {
    this.#append({ kind, detail });
  }

  [Symbol.dispose](): void {
    this.#beginSecond(0);
    this.#flush();
    closeSync(this.#end.descriptor);
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
    this.#pending.push({ time: new Date(this.#clock.wallMs()).toISOString(), ...fields });
    if (this.#pending.length === 1) setImmediate(() => this.#flush());
  }

  #flush(): void {
    if (this.#pending.length === 0) return;
    const events = this.#pending;
    this.#pending = [];
    try {
      if (this.#lostCount > 0) this.#goOnAfterLoss();
      const { text, head } = this.#chained(events);
      if (this.#bytes > 0 && this.#bytes + text.length > this.#fileBytesMax) this.#rotate();
      writeWhole(this.#end.descriptor, text);
      this.#bytes += text.length;
      this.#previous = head;
    } catch (thrown) {
      // Once: a full disk must not fill the log as well.
      if (this.#lostCount === 0)
        this.#log.error({ error: errorText(thrown) }, "the audit log cannot be written");
      this.#lostCount += events.length;
    }
  }

  /** The events as lines, each linked to the one before. */
  #chained(events: readonly object[]): { readonly text: Buffer; readonly head: string } {
    let head = this.#previous;
    let { before } = this.#end;
    const lines: string[] = [];
    for (const event of events) {
      const line = JSON.stringify({ ...event, ...(before === undefined ? {} : { before }), previous: head });
      before = undefined;
      head = digest(line);
      lines.push(line);
    }
    this.#end = { ...this.#end, before };
    return { text: Buffer.from(`${lines.join("\n")}\n`), head };
  }

  /** What the disk refused may have left a part of a line: looks where the file ends now, and says what is missing. */
  #goOnAfterLoss(): void {
    closeSync(this.#end.descriptor);
    this.#use(open(this.#directory));
    const lost = {
      time: new Date(this.#clock.wallMs()).toISOString(),
      kind: "lost",
      detail: `${this.#lostCount} events could not be written`,
    };
    const { text, head } = this.#chained([lost]);
    writeWhole(this.#end.descriptor, text);
    this.#bytes += text.length;
    this.#previous = head;
    this.#lostCount = 0;
  }

  #rotate(): void {
    putAside(this.#directory, this.#clock.wallMs());
    closeSync(this.#end.descriptor);
    this.#use(open(this.#directory));
  }

  #use(end: End): void {
    this.#end = end;
    this.#bytes = end.bytes;
    this.#previous = end.previous;
  }
}

function digest(line: string): string {
  return hash("sha256", line, "hex");
}

/** @throws as `writeSync`, also when only a part could be written. */
function writeWhole(descriptor: number, text: Buffer): void {
  let written = 0;
  while (written < text.length) written += writeSync(descriptor, text, written);
}
