import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";

import { readBackup } from "./backup-format.ts";
import type { BackupJob, BackupReport } from "./backup-thread.ts";
import { checkStoreFile, type Progress } from "./check-store-file.ts";
import { lockDirectory } from "./directory-lock.ts";
import { StoreBackupError, StoreCorruptError, StoreNewerError, StoreNotEmptyError } from "./errors.ts";
import { explainSystemError } from "./explain-system-error.ts";
import { forEachRow } from "./lmdb/row-reader.ts";
import { ThreadGuard } from "./lmdb/thread-guard.ts";
import { buildStoreFile } from "./new-store-file.ts";
import { dataFile, makeDirectory } from "./store-files.ts";
import { FORMAT_VERSION, readFormat } from "./store-format.ts";

/** The sources run as they are; a bundle brings the thread's code as a file of the same name beside itself. */
const threadUrl = new URL(
  `./backup-thread${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`,
  import.meta.url,
);

/**
 * Writes what is committed in an open store to `job.target`, which appears only when it is complete; one that is
 * there already is replaced. `onProgress` counts rows.
 * @throws {StoreBackupError} when it cannot be written, or a row of the store is damaged.
 */
export async function writeBackup(job: Omit<BackupJob, "flags">, onProgress?: Progress): Promise<void> {
  const guard = new ThreadGuard();
  const workerData: BackupJob = { ...job, flags: guard.flags };
  const worker = new Worker(threadUrl, { workerData });
  worker.once("exit", () => guard.release());
  const failure = await new Promise<string | undefined>((resolve, reject) => {
    let reason: string | undefined = "its thread ended";
    worker.on("message", (report: BackupReport) => {
      if (report.kind === "progress") onProgress?.(report.rowsDone, report.rowsTotal);
      else reason = report.kind === "failed" ? report.reason : undefined;
    });
    worker.once("error", reject);
    worker.once("exit", () => resolve(reason));
  });
  if (failure !== undefined) {
    throw new StoreBackupError(`The backup ${job.target} could not be written: ${failure}.`);
  }
}

export interface RestoreOptions {
  /** A backup file. */
  readonly file: string;
  /** Made if it is not there. No store may have it open. */
  readonly directory: string;
  /** Put the backup in the place of a store that has something in it, or is damaged. Default false. */
  readonly overwrite?: boolean;
  /** Counts bytes of the backup: all of it twice, once to verify and once to restore. */
  readonly onProgress?: Progress;
}

/**
 * Puts a backup in the place of the store in a directory. The backup is verified before anything is touched, and the
 * store is replaced at one stroke.
 * @throws {StoreBackupError} when the backup cannot be used.
 * @throws {StoreNotEmptyError} when a store with something in it is in the way and is not to be overwritten.
 * @throws {StoreLockedError} while the store is open.
 */
export async function restoreBackup(options: RestoreOptions): Promise<void> {
  const { file, directory, onProgress } = options;
  const progressFrom =
    (start: number): Progress =>
    (done, total) =>
      onProgress?.(start + done, total * 2);
  const bytes = await verifyBackup(file, progressFrom(0));
  makeDirectory(directory);
  const unlock = lockDirectory(directory);
  try {
    const target = dataFile(directory);
    if (options.overwrite !== true && !(await isFree(target))) {
      throw new StoreNotEmptyError(
        `The backup ${file} was not restored: the session store in ${directory} has something in it. Say that it is to be overwritten, or choose another directory.`,
      );
    }
    await buildStoreFile(target, readBackup(file, progressFrom(bytes)));
  } catch (error) {
    throw explainSystemError(error, `The backup ${file} cannot be restored in ${directory}`, directory);
  } finally {
    unlock();
  }
}

/** @returns the bytes of the file. */
async function verifyBackup(file: string, onProgress: Progress): Promise<number> {
  let isFirst = true;
  let bytes = 0;
  const sink = {
    put: (key: Buffer, value: Buffer) => {
      if (isFirst) readFormat({ key, value }, { where: `The backup ${file}`, formatMax: FORMAT_VERSION });
      isFirst = false;
    },
    delete: () => {},
  };
  for await (const rows of readBackup(file, (done, total) => {
    bytes = total;
    onProgress(done, total);
  })) {
    forEachRow(rows, sink);
  }
  if (isFirst) throw new StoreBackupError(`The backup ${file} has nothing in it. Use another one.`);
  return bytes;
}

/** Whether nothing would be lost: there is no store, or an empty one. */
async function isFree(file: string): Promise<boolean> {
  if (!existsSync(file)) return true;
  try {
    return (await checkStoreFile(file, { formatMax: FORMAT_VERSION })).isEmpty;
  } catch (error) {
    // Whoever repairs or upgrades it may still want it.
    if (error instanceof StoreCorruptError || error instanceof StoreNewerError) return false;
    throw error;
  }
}
