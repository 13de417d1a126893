import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";

import { ConfigError } from "../config/errors.ts";

/** Whom the server's processes run as. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
}

/** The number of CAP_NET_ADMIN. @see linux/capability.h */
const netAdmin = 12n;

/** Whether processes that this one starts can have the capability at all. */
function mayGive(capability: bigint): boolean {
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${bounding}`) >> capability) & 1n) === 1n;
}

/** Whether a program stands where programs are looked for: running it would cost every command some milliseconds. */
function isInstalled(program: string): boolean {
  const directories = (process.env["PATH"] ?? "").split(delimiter);
  return directories.some((directory) => existsSync(join(directory, program)));
}

/** Why this process cannot start a gate; `undefined` when it can. */
export function gateImpossible(): string | undefined {
  if (process.platform !== "linux") return "hiding ports needs Linux with nftables";
  if (process.geteuid?.() !== 0) return "hiding ports needs root";
  if (!mayGive(netAdmin)) {
    return "hiding ports needs the capability CAP_NET_ADMIN, which is withheld from root here, as containers do (docker run --cap-add=NET_ADMIN)";
  }
  if (!isInstalled("setpriv")) {
    return "starting processes with fewer rights needs setpriv (apt-get install util-linux)";
  }
  return undefined;
}

/**
 * Whom to run as: the user that is named in `file`, or the owner of the data directory; `undefined` for root without any of root's
 * rights, where the directory is root's. @throws {ConfigError} for a user that is not there, or not the directory's owner.
 */
export function runAs(user: string | undefined, data: string, file: string): RunAs | undefined {
  const owner = existsSync(data) ? statSync(data) : undefined;
  if (user === undefined) {
    return owner === undefined || owner.uid === 0 ? undefined : { uid: owner.uid, gid: owner.gid };
  }
  const ids = ["-u", "-g"].map((option) => {
    const { status, stdout } = spawnSync("id", [option, "--", user], { encoding: "utf8" });
    if (status !== 0)
      throw new ConfigError(`gate.user: there is no user "${user}" on this machine`, { file });
    return Number(stdout);
  });
  const [uid = 0, gid = 0] = ids;
  if (owner !== undefined && owner.uid !== uid) {
    throw new ConfigError(
      `gate.user is "${user}", but ${data} belongs to another user: chown -R ${user} ${data}`,
      {
        file,
      },
    );
  }
  return uid === 0 ? undefined : { uid, gid };
}

/** The command that runs another with these capabilities (`net_admin`) and no more, for good. */
export function withOnly(capabilities: readonly string[], as: RunAs | undefined): string[] {
  const list = ["-all", ...capabilities.map((name) => `+${name}`)].join(",");
  return [
    "setpriv",
    ...(as === undefined ? [] : [`--reuid=${as.uid}`, `--regid=${as.gid}`, "--clear-groups"]),
    `--inh-caps=${list}`,
    ...(as === undefined ? [] : [`--ambient-caps=${list}`]),
    `--bounding-set=${list}`,
    "--no-new-privs",
    "--",
  ];
}
