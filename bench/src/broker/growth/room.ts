import { readFileSync, statfsSync } from "node:fs";

const gigabyte = 1_073_741_824;
/** What the largest points took, with half as much again. */
const memoryBytesMin = 6 * gigabyte;
const diskBytesMin = 8 * gigabyte;
const connectionsWanted = 20_000;
/** Descriptors of server and load generator that are no connections. */
const otherDescriptors = 500;

/** Throws `RangeError` when the machine has not the memory, or `directory` not the room, for the largest points. */
export function checkRoom(directory: string): void {
  const { bavail, bsize } = statfsSync(directory);
  wants("memory", process.availableMemory(), memoryBytesMin);
  wants(`disk in ${directory} (TMPDIR)`, bavail * bsize, diskBytesMin);
}

/** The most connections that are tried: fewer than wanted where the system lets a process open fewer files. */
export function connectionsMax(): number {
  const [, files = "Infinity"] =
    /^Max open files +\S+ +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
  return Math.min(connectionsWanted, Number(files) - otherDescriptors);
}

function wants(what: string, have: number, min: number): void {
  if (have >= min) return;
  const [has, needs] = [have, min].map((bytes) => (bytes / gigabyte).toFixed(1));
  throw new RangeError(`--far wants ${needs} GB of ${what}, and there are ${has} GB`);
}
