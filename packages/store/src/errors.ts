import { PosternError } from "@postern/core/errors";

/** Another process (or another store in this one) has the data directory open. */
export class StoreLockedError extends PosternError {
  readonly code = "STORE_LOCKED";
}

/** The data were written by a newer version. Nothing was changed. */
export class StoreNewerError extends PosternError {
  readonly code = "STORE_NEWER";
}

/** The data are damaged, or are not a session store's. Nothing was changed. */
export class StoreCorruptError extends PosternError {
  readonly code = "STORE_CORRUPT";
  /** What is wrong, without the place and without advice; empty when that is all there is to say. */
  readonly damage: string;

  constructor(message: string, options: ErrorOptions & { readonly damage?: string } = {}) {
    super(message, options);
    this.damage = options.damage ?? "";
  }
}

/** For one row that is not as it was written. */
export function rowDamage(damage: string): StoreCorruptError {
  return new StoreCorruptError(
    `A row of the session store is damaged (${damage}). Stop, and restore a backup or move the store away to start with an empty one.`,
    { damage },
  );
}

/** There is no room on the disk. The group is kept and written when there is. */
export class StoreFullError extends PosternError {
  readonly code = "STORE_FULL";
}

/** The data directory or a file in it cannot be read or written with the rights of this process. */
export class StoreUnreadableError extends PosternError {
  readonly code = "STORE_UNREADABLE";
}

/** The disk or the writer failed for another reason than a full disk. The group is kept and tried again. */
export class StoreWriteError extends PosternError {
  readonly code = "STORE_WRITE";
}

/** A backup cannot be written or read, is damaged, or was made by a newer version. */
export class StoreBackupError extends PosternError {
  readonly code = "STORE_BACKUP";
}

/** A backup would take the place of a store that has something in it, or is damaged. Nothing was changed. */
export class StoreNotEmptyError extends PosternError {
  readonly code = "STORE_NOT_EMPTY";
}
