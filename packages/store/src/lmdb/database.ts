import { open, type RootDatabase } from "lmdb";

/**
 * Address space, not memory or disk: the file grows as it is written. It is wide so that the map is not moved while
 * it is being read, and below the 512 GiB that a process has on small ARM boards. LMDB widens it when it must.
 */
const MAP_BYTES = 64 * 2 ** 30;

/** Each open store has a reader on the event loop and one in a backup. */
const READERS_MAX = 16;

/**
 * Opens the file with the settings that docs/decisions/020-durable-groups.md argues for. Threads of one process that
 * open the same file share one LMDB environment.
 */
export function openLmdb(
  file: string,
  options: { readonly noSync?: boolean } = {},
): RootDatabase<Buffer, Buffer> {
  return open<Buffer, Buffer>({
    path: file,
    noSubdir: true,
    encoding: "binary",
    keyEncoding: "binary",
    // A transaction is committed when it is on disk, not before: see the decision.
    overlappingSync: false,
    noSync: options.noSync ?? false,
    mapSize: MAP_BYTES,
    maxDbs: 1,
    maxReaders: READERS_MAX,
  });
}

export interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** What is committed, read on the event loop. Keys and values are copies. */
export class LmdbReader {
  readonly #database: RootDatabase<Buffer, Buffer>;

  constructor(file: string) {
    this.#database = openLmdb(file);
  }

  get(key: Buffer): Buffer | undefined {
    return this.#database.getBinary(key);
  }

  /** Rows in key order, from `start` up to but without `end`, as they were when the iteration began. */
  range(start: Buffer, end: Buffer): Iterable<Row> {
    return this.#database.getRange({ start, end });
  }

  /** Lets the next read see what other threads have committed. */
  refresh(): void {
    this.#database.resetReadTxn();
  }

  async close(): Promise<void> {
    await this.#database.close();
  }
}
