import { errorText } from "@postern/core/errors";

import { HostsError } from "../errors.ts";
import { ended, ip } from "./ip-command.ts";
import { isLeftOver } from "./names.ts";

/** Why this machine lets us make no hosts; `undefined` when it does. */
export async function hostsRefused(): Promise<string | undefined> {
  if (process.platform !== "linux")
    return `network namespaces are of Linux, and this system is ${process.platform}`;
  if (process.getuid?.() !== 0) return "only root may make network namespaces";
  try {
    const { code } = await ended("unshare", ["--net", "--mount", "true"]);
    return code === 0 ? undefined : "this machine does not let root make network namespaces (a container?)";
  } catch (thrown) {
    return errorText(thrown);
  }
}

/** Names of all network namespaces that have one. */
async function named(): Promise<string[]> {
  const listing = await ip(["netns", "list"]);
  return listing
    .split("\n")
    .map((line) => line.split(" ")[0] ?? "")
    .filter((name) => name !== "");
}

/** Ends what runs in these namespaces and takes them away, with all that is in them. Those that are gone already do not matter. */
export async function removeNamespaces(names: readonly string[]): Promise<void> {
  const present = new Set(await named());
  const ours = names.filter((name) => present.has(name));
  for (const name of ours) await endProcessesIn(name);
  // Another run may sweep at the same time.
  await ended("ip", ["-force", "-batch", "-"], ours.map((name) => `netns delete ${name}\n`).join(""));
  const stay = new Set(await named());
  const remaining = ours.filter((name) => stay.has(name));
  if (remaining.length > 0) throw new HostsError(`Namespaces cannot be taken away: ${remaining.join(", ")}.`);
}

/** A process that starts another while it is ended is met the next time around. */
const roundsMax = 10;

async function endProcessesIn(namespace: string): Promise<void> {
  for (let round = 0; round < roundsMax; round++) {
    const { stdout } = await ended("ip", ["netns", "pids", namespace]);
    const pids = stdout.split("\n").filter((line) => line !== "");
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Takes away what processes that were killed have left. Returns the names. */
export async function sweepLeftOvers(): Promise<string[]> {
  const left = (await named()).filter(isLeftOver);
  await removeNamespaces(left);
  return left;
}
