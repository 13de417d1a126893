// Has a server that is not told how many threads carry connections start POSTERN_TEST_WORKERS at once, where there are so many. Loaded with --import; for the sources.
import { registerHooks } from "node:module";

const workers = Number(process.env["POSTERN_TEST_WORKERS"]);

if (workers > 0)
  registerHooks({
    load(url, context, next) {
      if (!url.endsWith("/cli/src/server/threads.ts")) return next(url, context);
      const source = `export const threadsOf = (workers) => ({ workers: workers === "auto" ? ${workers} : workers });`;
      return { format: "module", source, shortCircuit: true };
    },
  });
