import { statSync } from "node:fs";

import { silentLog } from "@postern/core/log";
import { openDataDirectory, type DataDirectory } from "@postern/identity/data-directory";
import { restoreBackup } from "@postern/store/backup";
import { StoreLockedError, StoreNotEmptyError } from "@postern/store/errors";

import { NotRunningError, askServer } from "../admin/client.ts";
import { backupResult } from "../admin/protocol.ts";
import { CliError, ExitCode } from "../errors.ts";
import { openStore } from "./store.ts";

/** A backup is not put in the place of what is there. */
export class RestoreRefusedError extends CliError {
  readonly code = "RESTORE_REFUSED";
  readonly exitCode = ExitCode.failed;
}

/** `file` is an absolute path. */
export interface BackupRequest {
  readonly file: string;
  readonly cwd: string;
}

/**
 * Has the running server write its state to a file; when none runs, does it from the files.
 * @throws {StoreBackupError} and what opening a store throws.
 */
export async function takeBackup(
  directory: DataDirectory,
  { file, cwd }: BackupRequest,
): Promise<{ readonly bytes: number }> {
  try {
    return await askServer(directory, cwd, {
      method: "POST",
      path: "/backup",
      body: { file },
      answer: backupResult,
    });
  } catch (thrown) {
    if (!(thrown instanceof NotRunningError)) throw thrown;
  }
  const store = await openStore(directory, silentLog);
  try {
    await store.backup(file);
  } finally {
    await store.close();
  }
  return { bytes: statSync(file).size };
}

/**
 * Puts a backup in the place of the state of a data directory, which is made when it is not there.
 * @throws {RestoreRefusedError} while a server runs, and when there is something that `overwrite` does not allow to lose.
 */
export async function putBackup(
  path: string,
  { file, overwrite }: { readonly file: string; readonly overwrite: boolean },
): Promise<void> {
  const directory = openDataDirectory(path);
  try {
    await restoreBackup({ file, directory: directory.state, overwrite });
  } catch (thrown) {
    if (thrown instanceof StoreLockedError) {
      throw new RestoreRefusedError(`a server is running on ${path}: stop it first (\`postern down\`)`, {
        cause: thrown,
      });
    }
    if (thrown instanceof StoreNotEmptyError) {
      throw new RestoreRefusedError(
        `there are sessions or messages in ${path} already: add --force to replace them with the backup, or choose another --data`,
        { cause: thrown },
      );
    }
    throw thrown;
  }
}
