import { openLmdbSessionStore } from "../src/open-lmdb-session-store.ts";
import { commit, session } from "../src/testing/fixtures.ts";

/* Opens a store, says so, and holds it until it is killed. */

const store = await openLmdbSessionStore({ directory: process.argv[2] ?? "" });
store.putSession(1, session());
await commit(store);
console.log("holding");
setInterval(() => {}, 60_000);
