import type { Log } from "@postern/core/log";
import type { DataDirectory } from "@postern/identity/data-directory";
import type { LmdbSessionStore } from "@postern/store/lmdb-session-store";
import { openLmdbSessionStore } from "@postern/store/open-lmdb-session-store";

/** How often a long check says how far it is. */
const progressMs = 2_000;

/**
 * Opens the session store of a data directory, and with it takes the lock that keeps every other server from the directory.
 * A large store is checked for some seconds: the log tells how far it is.
 * @throws as `openLmdbSessionStore`.
 */
export function openStore(directory: DataDirectory, log: Log): Promise<LmdbSessionStore> {
  let toldMs = performance.now();
  return openLmdbSessionStore({
    directory: directory.state,
    onProgress: (done, total) => {
      if (performance.now() - toldMs < progressMs) return;
      toldMs = performance.now();
      log.info({ percent: Math.floor((done * 100) / Math.max(total, 1)) }, "checking the session store");
    },
  });
}
