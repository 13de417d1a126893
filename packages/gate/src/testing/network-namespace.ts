import { spawnSync } from "node:child_process";

/** @see linux/sched.h */
const CLONE_NEWNET = 0x4000_0000;

/** Why this process may not make network namespaces; `undefined` when it may. For the `skip` of a test. */
export function namespacesRefused(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are of Linux";
  const probe = spawnSync("unshare", ["--net", "true"], { encoding: "utf8" });
  if (probe.error !== undefined) return "unshare (util-linux) is not installed";
  return probe.status === 0 ? undefined : "network namespaces are not allowed here (needs root)";
}

/**
 * Puts this process into a network of its own, with nothing but loopback and these addresses on it; the network is gone with
 * the process. Only the thread that calls this: sockets and child processes are made on the main thread, so all of them are inside.
 */
export async function enterNetworkNamespace(addresses: readonly string[] = []): Promise<void> {
  const { load } = await import("koffi");
  const unshare: (flags: number) => number = load(null).func("int unshare(int flags)");
  if (unshare(CLONE_NEWNET) !== 0) throw new Error("this process may not make a network namespace");
  ip("link", "set", "lo", "up");
  for (const address of addresses)
    ip("address", "add", address, "dev", "lo", ...(address.includes(":") ? ["nodad"] : []));
}

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync("ip", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
}
