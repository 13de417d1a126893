import type { SessionNumber } from "@postern/core/session-store";

import type { OverlayEntry } from "./queue-overlay.ts";

/** About 12 MB; what all clients together have in flight is seldom more. */
const entriesMax = 65_536;

/**
 * Queue entries as the database has them, which were read or are in flight: whoever sends or acknowledges one need not look it up
 * again, which is half of what that costs. Emptied when full.
 */
export class KnownEntries {
  readonly #sessions = new Map<SessionNumber, Map<number, OverlayEntry>>();
  #count = 0;

  find(session: SessionNumber, position: number): OverlayEntry | undefined {
    return this.#sessions.get(session)?.get(position);
  }

  set(entry: OverlayEntry): void {
    if (this.#count >= entriesMax) this.#clear();
    let entries = this.#sessions.get(entry.session);
    if (entries === undefined) {
      entries = new Map();
      this.#sessions.set(entry.session, entries);
    }
    const before = entries.size;
    entries.set(entry.position, entry);
    this.#count += entries.size - before;
  }

  delete(entry: OverlayEntry): void {
    const entries = this.#sessions.get(entry.session);
    if (entries?.delete(entry.position) !== true) return;
    this.#count -= 1;
    if (entries.size === 0) this.#sessions.delete(entry.session);
  }

  /** Forgets a session that was deleted. */
  drop(session: SessionNumber): void {
    this.#count -= this.#sessions.get(session)?.size ?? 0;
    this.#sessions.delete(session);
  }

  #clear(): void {
    this.#sessions.clear();
    this.#count = 0;
  }
}
