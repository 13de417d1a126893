import { mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";

import { openHostFirewall } from "@postern/gate/host-profile/host-firewall";
import { replacePrivateFile } from "@postern/identity/files";

import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { findProgram } from "./find-program.ts";

/** Where confirmed rules are kept for the next start of the machine, unless another place is named. */
export const savedRulesFile = "/etc/postern/host-firewall.nft";

/** The service that loads them. */
const unitName = "postern-firewall.service";

export interface SaveOptions {
  readonly file?: string;
}

/** Writes what is confirmed to a file, exactly as it is in force. @throws {FirewallRefusedError} when nothing is confirmed; {DataDirectoryError} */
export async function saveProfile(
  command: "lockdown" | "agent",
  { file = savedRulesFile }: SaveOptions,
  { cwd, stdout, program }: CommandContext,
): Promise<void> {
  using firewall = await openHostFirewall();
  const text = firewall.save();
  const path = resolve(cwd, file);
  mkdirSync(dirname(path), { recursive: true });
  replacePrivateFile(path, text);
  const option = file === savedRulesFile ? "" : ` --file ${path}`;
  stdout.write(
    `${path} holds the rules. Once, to have them loaded whenever the machine starts, before its network does:\n\n` +
      `    ${program} ${command} unit${option} > /etc/systemd/system/${unitName}\n` +
      `    systemctl enable ${unitName}\n\n` +
      `After later changes, save again.\n`,
  );
}

/** Prints a systemd unit that loads the saved rules, before the network and after other rules that may begin with "flush ruleset". @throws {UsageError} without nft */
export function printUnit(
  { file = savedRulesFile }: SaveOptions,
  { cwd, env, stdout }: CommandContext,
): void {
  const nft = findProgram("nft", env);
  if (nft === undefined)
    throw new UsageError("rules are loaded at the start of the machine by nft: apt-get install nftables");
  const path = resolve(cwd, file);
  if (/[^\w./-]/.test(path)) throw new UsageError(`--file "${path}" cannot be written in a systemd unit`);
  stdout.write(`[Unit]
Description=Rules of postern lockdown or postern agent
ConditionPathExists=${path}
DefaultDependencies=no
After=local-fs.target nftables.service
Before=network-pre.target shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${nft} -f ${path}

[Install]
WantedBy=sysinit.target
`);
}
