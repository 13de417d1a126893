import type { SessionStore } from "@postern/core/session-store";
import { MemorySessionStore } from "@postern/store/memory-session-store";

/** The store of a server's sessions. */
export function openStore(): SessionStore {
  return new MemorySessionStore();
}
