import { accessSync, constants, existsSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

import { ended, start } from "./processes.ts";

/** Programs of Debian 12 that tests talk to, and what shows that each is there: a command, or one of some files. */
const peers = [
  { package: "ca-certificates", shownBy: { file: "/etc/ssl/certs/ca-certificates.crt" } },
  { package: "curl", shownBy: { command: "curl" } },
  { package: "fwknop-client", shownBy: { command: "fwknop" } },
  { package: "git", shownBy: { command: "git" } },
  { package: "iproute2", shownBy: { command: "ip" } },
  { package: "mosquitto", shownBy: { command: "mosquitto" } },
  { package: "mosquitto-clients", shownBy: { command: "mosquitto_pub" } },
  { package: "nftables", shownBy: { command: "nft" } },
  { package: "nmap", shownBy: { command: "nmap" } },
  { package: "openssl", shownBy: { command: "openssl" } },
  { package: "python3", shownBy: { command: "python3" } },
  { package: "python3-paho-mqtt", shownBy: { file: "/usr/lib/python3/dist-packages/paho/mqtt/client.py" } },
  {
    package: "libstrongswan-standard-plugins",
    shownBy: { file: "/usr/lib/ipsec/plugins/libstrongswan-openssl.so" },
  },
  { package: "strongswan-pki", shownBy: { command: "pki" } },
  { package: "tcpdump", shownBy: { command: "tcpdump" } },
  { package: "tshark", shownBy: { command: "tshark" } },
] as const;

type Peer = {
  readonly package: string;
  readonly shownBy: { readonly command: string } | { readonly file: string };
};

/** Those of `wanted` that are not installed. */
export function missing(wanted: readonly Peer[] = peers): Peer[] {
  return wanted.filter(({ shownBy }) =>
    "file" in shownBy ? !existsSync(shownBy.file) : !commandExists(shownBy.command),
  );
}

/** Administration tools such as `mosquitto` stand outside the path of an ordinary user. */
export function commandExists(command: string): boolean {
  const directories = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return directories.some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Installs what is missing, where this process may. Returns a sentence for each package that is not there afterwards.
 * Starts no service, and leaves none that would be started at the next boot.
 */
export async function installMissing(): Promise<string[]> {
  const wanted = missing();
  if (wanted.length === 0) return [];
  const names = wanted.map((peer) => peer.package);
  const without = (why: string): string[] =>
    missing().map((peer) => `${peer.package} is not installed and ${why}`);

  if (process.platform !== "linux" || !commandExists("apt-get"))
    return without("this machine has no apt-get");
  if (process.getuid?.() !== 0) return without("only root can install it");
  console.log(`Installing what the tests talk to: ${names.join(", ")}`);
  const installed = await withoutServices(
    async () =>
      (await quietly("apt-get", [...patience, "update"])) &&
      (await quietly("apt-get", [...patience, "install", "--yes", "--no-install-recommends", ...names])),
  );
  if (names.includes("mosquitto") && commandExists("systemctl")) {
    await quietly("systemctl", ["disable", "mosquitto.service"]);
  }
  return without(installed ? "its package does not bring what was expected" : "apt-get could not fetch it");
}

/** A mirror may be slow to answer, and another program may be installing something. */
const patience = ["-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"];

/** Debian asks this file before it starts a service of a package that it installs. */
const policyFile = "/usr/sbin/policy-rc.d";

async function withoutServices(install: () => Promise<boolean>): Promise<boolean> {
  if (existsSync(policyFile)) return install();
  const remove = (): void => rmSync(policyFile, { force: true });
  writeFileSync(policyFile, "#!/bin/sh\nexit 101\n", { mode: 0o755, flag: "wx" });
  process.once("exit", remove);
  try {
    return await install();
  } finally {
    process.off("exit", remove);
    remove();
  }
}

async function quietly(command: string, args: readonly string[]): Promise<boolean> {
  const child = start(command, args, {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const chunks: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => chunks.push(chunk));
  const code = await ended(child);
  if (code !== 0) console.error(Buffer.concat(chunks).toString("utf8"));
  return code === 0;
}
