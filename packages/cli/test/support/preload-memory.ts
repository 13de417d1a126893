// On SIGUSR2 collects garbage and says on stderr what memory is in use, in bytes. Loaded with --import.
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

/** Memory of the process's own: pages of mapped files can be dropped at any time and do not count. @see proc_pid_status(5) */
function anonymousBytes(): number {
  const kilobytes = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  return Number(kilobytes) * 1_024;
}

process.on("SIGUSR2", () => {
  collect();
  // What the first collection let go of is finalized in a later turn.
  setImmediate(() => {
    collect();
    const { heapUsed, rss } = process.memoryUsage();
    const memory = { heapBytes: heapUsed, anonymousBytes: anonymousBytes(), residentBytes: rss };
    process.stderr.write(`memory ${JSON.stringify(memory)} end\n`);
  });
});
