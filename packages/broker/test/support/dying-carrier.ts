import { isMainThread } from "node:worker_threads";

/* Loaded with --import: each thread beside the first dies. */
if (!isMainThread) {
  setTimeout(() => {
    throw new Error("this thread was to die");
  }, 200);
}
