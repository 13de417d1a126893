import { createHash } from "node:crypto";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

import { errorText } from "@postern/core/errors";
import type { RootDatabase } from "lmdb";

import { encodeHeader, encodeRowCount } from "./backup-format.ts";
import { StoreCorruptError } from "./errors.ts";
import { openLmdb } from "./lmdb/database.ts";
import { checkRow } from "./lmdb/row-reader.ts";
import { RowWriter } from "./lmdb/row-writer.ts";
import { isStopping, runGuarded } from "./lmdb/thread-guard.ts";
import { replaceFile } from "./store-files.ts";

/*
 * Writes a backup on a thread of its own: one LMDB read transaction sees the store as it was when it began, however
 * long it takes and whatever is committed meanwhile.
 */

export interface BackupJob {
  readonly dataFile: string;
  readonly target: string;
  readonly madeAtMs: number;
  /** Of a `ThreadGuard`. */
  readonly flags: Int32Array;
}

export type BackupReport =
  | { readonly kind: "progress"; readonly rowsDone: number; readonly rowsTotal: number }
  | { readonly kind: "finished" }
  | { readonly kind: "failed"; readonly reason: string };

const BLOCK_BYTES = 1 << 20;

function isJob(data: unknown): data is BackupJob {
  return typeof data === "object" && data !== null && "dataFile" in data && "flags" in data;
}

async function main(): Promise<void> {
  const job: unknown = workerData;
  if (!isJob(job)) throw new TypeError("the backup thread is given a job");
  const half = `${job.target}.part`;
  try {
    rmSync(half, { force: true });
    await writeBackup(job, half);
    replaceFile(half, job.target);
    report({ kind: "finished" });
  } catch (error) {
    rmSync(half, { force: true });
    report({ kind: "failed", reason: error instanceof StoreCorruptError ? error.damage : errorText(error) });
  }
}

/** Opens the database, reads all of it in one transaction and lets go of it. */
async function writeBackup(job: BackupJob, half: string): Promise<void> {
  const descriptor = openSync(half, "wx", 0o600);
  let database: RootDatabase<Buffer, Buffer> | undefined;
  try {
    runGuarded(job.flags, () => {
      database = openLmdb(job.dataFile);
      writeRows(database, descriptor, job);
    });
  } finally {
    closeSync(descriptor);
    await database?.close();
  }
}

function writeRows(database: RootDatabase<Buffer, Buffer>, descriptor: number, job: BackupJob): void {
  const hash = createHash("sha256");
  const write = (bytes: Uint8Array): void => {
    hash.update(bytes);
    writeAll(descriptor, bytes);
  };
  const rowsTotal = database.getCount({ start: Buffer.of(0) });
  const writer = new RowWriter();
  let rowsDone = 0;
  write(encodeHeader(job.madeAtMs));
  // Not a moment is given away within this loop, so it is one transaction.
  for (const { key, value } of database.getRange({ start: Buffer.of(0) })) {
    checkRow(key, value);
    writer.putRow(key, value);
    rowsDone += 1;
    if (writer.byteLength < BLOCK_BYTES) continue;
    if (isStopping(job.flags)) throw new Error("the server ends");
    write(writer.take());
    report({ kind: "progress", rowsDone, rowsTotal });
  }
  write(writer.take());
  write(encodeRowCount(rowsDone));
  writeAll(descriptor, hash.digest());
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at);
}

function report(message: BackupReport): void {
  parentPort?.postMessage(message, []);
}

await main();
