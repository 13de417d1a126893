import { openLmdbSessionStore } from "../src/open-lmdb-session-store.ts";
import { message, queue, session } from "../src/testing/fixtures.ts";

/*
 * Writes large groups without a pause, so that its thread is always in the middle of one; then exits, or backs up
 * and exits, or throws.
 */

const MESSAGES_PER_GROUP = 3000;

const [, , directory = "", how = "", afterMs = ""] = process.argv;
const store = await openLmdbSessionStore({ directory });
store.putSession(1, session());
let position = 0;

function next(): void {
  for (let count = 0; count < MESSAGES_PER_GROUP; count += 1) {
    position += 1;
    queue(store, 1, position, message("t", Buffer.alloc(60)));
  }
  store.commit(() => setImmediate(next));
}

next();
next();
setTimeout(() => {
  if (how === "throw") throw new TypeError("a mistake somewhere else");
  if (how === "backup") void store.backup(`${directory}.backup`);
  setTimeout(() => process.exit(7), how === "backup" ? 30 : 0);
}, Number(afterMs));
