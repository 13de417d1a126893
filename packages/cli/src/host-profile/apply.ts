import { existsSync } from "node:fs";
import { createInterface } from "node:readline/promises";

import { openHostFirewall, type ProfileState } from "@postern/gate/host-profile/host-firewall";
import { profileRuleset, profileTable, type HostProfile } from "@postern/gate/host-profile/profile";

import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { savedRulesFile } from "./boot.ts";

export interface ApplyOptions {
  readonly yes?: boolean;
  readonly seconds: number;
}

/** The command that the profile belongs to, as it is typed. */
export type ProfileCommand = "lockdown" | "agent";

/** Prints the profile as a file for `nft -f`. */
export function showProfile(profile: HostProfile, { stdout }: CommandContext): void {
  stdout.write(profileRuleset(profile));
}

/** Shows the profile, asks, and puts it in force for a time; who does not confirm gets the machine back without any profile. */
export async function applyProfile(
  profile: HostProfile,
  { yes, seconds }: ApplyOptions,
  command: ProfileCommand,
  context: CommandContext,
): Promise<void> {
  const { stdout, stderr, program } = context;
  using firewall = await openHostFirewall();
  stdout.write(`${profileRuleset(profile, seconds)}\n`);
  for (const warning of warnings(profile, firewall.gateIsInForce()))
    stderr.write(`postern: warning: ${warning}\n`);
  if (yes !== true && !(await agreed(context))) {
    stdout.write("Nothing was changed.\n");
    return;
  }
  firewall.tryOut(profile, seconds);
  const state = firewall.state();
  const otherwise =
    state.kind === "trial" && state.otherwise === "confirmed"
      ? "puts the rules in force again that were confirmed before"
      : "lets everything through again";
  stdout.write(
    `In force for ${seconds} seconds. See whether you still reach this machine (a new connection), then:\n\n` +
      `    ${program} ${command} confirm\n\n` +
      `Otherwise the kernel ${otherwise}, whatever happens to this program.\n`,
  );
}

function warnings({ kind, in: incoming, out }: HostProfile, gateIsInForce: boolean): string[] {
  const found: string[] = [];
  if (!incoming.some(({ purpose }) => purpose === "your SSH connection" || purpose === "listed")) {
    found.push("nobody can log in from elsewhere: list the way you do with --in, such as --in tcp/22");
  }
  if (!out.some(({ port }) => port === 53) || !out.some(({ port }) => port === 123)) {
    found.push(
      `this machine will neither look up names nor set its clock from others, unless you list that: --out udp/53@RESOLVER --out udp/123`,
    );
  }
  if (kind === "server" && !gateIsInForce) {
    found.push(
      "no gate is in force here, so own services answer everybody: start `postern up` with its gate first",
    );
  }
  return found;
}

async function agreed({ stdin, stdout }: CommandContext): Promise<boolean> {
  if (stdin.isTTY !== true) {
    throw new UsageError("Nobody is there to ask: look at the rules above, then say --yes.");
  }
  const lines = createInterface({ input: stdin, output: stdout });
  try {
    const answer = await lines.question(`Put these rules (table inet ${profileTable}) in force? [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
}

/** Keeps what is tried. */
export async function confirmProfile(
  command: ProfileCommand,
  { stdout, program }: CommandContext,
): Promise<void> {
  using firewall = await openHostFirewall();
  firewall.confirm();
  stdout.write(
    `Confirmed: the rules stay until you remove them or the machine starts again. To have them back then:\n\n` +
      `    ${program} ${command} save\n`,
  );
}

/** Lets everything through again. */
export async function removeProfile({ stdout }: CommandContext): Promise<void> {
  using firewall = await openHostFirewall();
  const before = firewall.state();
  firewall.remove();
  stdout.write(
    before.kind === "absent" ? "There was nothing to remove.\n" : "Removed: everything is let through.\n",
  );
  if (existsSync(savedRulesFile))
    stdout.write(
      `${savedRulesFile} holds rules for the next start of the machine: remove it if they are not wanted.\n`,
    );
}

/** Says whether a profile is in force. */
export async function profileStatus(json: boolean, { stdout }: CommandContext): Promise<void> {
  using firewall = await openHostFirewall();
  const state = firewall.state();
  stdout.write(json ? `${JSON.stringify(state)}\n` : `${sentence(state)}\n`);
}

function sentence(state: ProfileState): string {
  switch (state.kind) {
    case "absent":
      return "No rules are in force.";
    case "trial":
      return state.otherwise === "confirmed"
        ? `The rules are in force for ${state.remainingSeconds} more seconds, unless they are confirmed; then those that were confirmed before are again.`
        : `The rules are in force for ${state.remainingSeconds} more seconds, unless they are confirmed.`;
    case "confirmed":
      return "The rules are in force, and confirmed.";
    case "restored":
      return "The last rules were not confirmed in time: those that were confirmed before are in force again.";
    case "over":
      return "The rules were not confirmed in time: everything is let through.";
  }
  return state satisfies never;
}
