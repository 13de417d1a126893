import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { basename } from "node:path";

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** A process in a few words, such as "mosquitto" or "node postern.js"; `undefined` when it cannot be told. */
export function processDescription(pid: number): string | undefined {
  const line = readProc(`/proc/${pid}/cmdline`);
  const [program, script] = line?.split("\0") ?? [];
  if (program === undefined || program === "") return readProc(`/proc/${pid}/comm`)?.trim();
  const name = basename(program);
  return name === "node" && script !== undefined && !script.startsWith("-")
    ? `${name} ${basename(script)}`
    : name;
}

/** The number of the socket that listens on a TCP port, from the kernel's table. @see proc_net(5) */
function listeningInodes(port: number): Set<string> {
  const inodes = new Set<string>();
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of readProc(table)?.split("\n").slice(1) ?? []) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      if (state === "0A" && local?.endsWith(`:${hexPort}`) === true && inode !== undefined) inodes.add(inode);
    }
  }
  return inodes;
}

/** The process that listens on a TCP port of this machine, as far as this user may see it. */
export function portHolder(port: number): number | undefined {
  const inodes = listeningInodes(port);
  if (inodes.size === 0) return undefined;
  for (const name of readDirectory("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    for (const descriptor of readDirectory(`/proc/${name}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(readLink(`/proc/${name}/fd/${descriptor}`) ?? "")?.[1];
      if (inode !== undefined && inodes.has(inode)) return Number(name);
    }
  }
  return undefined;
}

function readDirectory(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** How many files this process may have open at once; `undefined` when it cannot be told. Node raises the soft limit to the hard one. */
export function openFilesMax(): number | undefined {
  const soft = /^Max open files\s+(\d+)/m.exec(readProc("/proc/self/limits") ?? "")?.[1];
  return soft === undefined ? undefined : Number(soft);
}
