import { readFileSync } from "node:fs";

/**
 * Names of our network namespaces: `postern-<process>-<its start>-<number>-<host>`. By them a later run knows what a process
 * left that was killed, and takes it away.
 */
const pattern = /^postern-(\d+)-(\d+)-\d+-[a-z0-9-]+$/;

/** When a process began, in ticks since the machine did; `undefined` when there is no such process, or it has ended and nobody has waited for it. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is a file name in parentheses, which may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

let networks = 0;

/** What the names of one network of this process begin with. */
export function newPrefix(): string {
  return `postern-${process.pid}-${startOf(process.pid) ?? "0"}-${networks++}`;
}

/** Whether a namespace is one of ours whose process no longer runs. */
export function isLeftOver(namespace: string): boolean {
  const [, pid, start] = pattern.exec(namespace) ?? [];
  return pid !== undefined && startOf(Number(pid)) !== start;
}
