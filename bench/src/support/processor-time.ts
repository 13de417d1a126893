import { loadavg } from "node:os";
import { readFileSync } from "node:fs";

interface Ticks {
  readonly all: number;
  readonly idle: number;
  readonly stolen: number;
}

/** @see proc_stat(5) */
function ticks(): Ticks {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n", 1);
  const [user = 0, nice = 0, system = 0, idle = 0, waiting = 0, irq = 0, softirq = 0, stolen = 0] = line
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const all = user + nice + system + idle + waiting + irq + softirq + stolen;
  return { all, idle: idle + waiting, stolen };
}

/** What the processors did from now until `text` is asked for: whoever reads figures of a shared machine needs to know. */
export function watchProcessors(): { text(): string } {
  const begin = ticks();
  return {
    text() {
      const end = ticks();
      const all = Math.max(1, end.all - begin.all);
      const share = (part: number): string => `${Math.round((100 * part) / all)} %`;
      const idle = end.idle - begin.idle;
      const stolen = end.stolen - begin.stolen;
      const [load = 0] = loadavg();
      return `load ${load.toFixed(1)}, processors ${share(all - idle - stolen)} busy, ${share(stolen)} taken by other machines`;
    },
  };
}
