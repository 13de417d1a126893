import type { Command } from "commander";

import { wholeNumber } from "../client/options.ts";
import type { CommandContext } from "../context.ts";
import type { ApplyOptions, ProfileCommand } from "../host-profile/apply.ts";
import type { SaveOptions } from "../host-profile/boot.ts";
import type { AgentOptions } from "../host-profile/device-profile.ts";
import type { LockdownOptions } from "../host-profile/server-profile.ts";

const defaultTrialSeconds = 60;

function collected(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function collectedPorts(value: string, before: readonly number[] = []): readonly number[] {
  return [...before, wholeNumber(1, 65_535)(value)];
}

/** Options of `show` and `apply` of either kind. */
function withListed(command: Command): Command {
  return command
    .option("--in <endpoint>", "also let in: tcp/22, or tcp/22@192.168.1.0/24; may be given again", collected)
    .option("--out <endpoint>", "also let out: udp/53@192.168.1.1, tcp/443; may be given again", collected)
    .option(
      "--knock-port <port>",
      "port for knock packets (default: the configuration's or the bundle's)",
      wholeNumber(1, 65_535),
    )
    .option("--no-ssh", "do not let in the SSH connection that this command is typed over");
}

function withTrial(command: Command): Command {
  return command
    .option("--seconds <number>", "time to confirm in", wholeNumber(10, 3_600), defaultTrialSeconds)
    .option("--yes", "do not ask");
}

function withServer(command: Command): Command {
  return withListed(command)
    .option("--config <file>", "configuration that says which ports the services have")
    .option("--data <directory>", "data directory (default: ./postern-data)")
    .option(
      "--service <port>",
      "a service's port, instead of the configuration's; may be given again",
      collectedPorts,
    )
    .option(
      "--client <address>",
      "only these may knock and connect: address or prefix; may be given again",
      collected,
    );
}

function withDevice(command: Command): Command {
  return withListed(command)
    .option("--bundle <file>", "the servers of a device's bundle; may be given again", collected)
    .option("--server <host:port>", "a server; may be given again", collected);
}

/** `confirm`, `save`, `unit`, `status` and `remove`, the same for either kind. */
function registerAfterwards(parent: Command, command: ProfileCommand, context: CommandContext): void {
  parent
    .command("confirm")
    .description("keep the rules that are being tried")
    .action(async () => {
      const { confirmProfile } = await import("../host-profile/apply.ts");
      await confirmProfile(command, context);
    });
  const file = [
    "--file <file>",
    "the rules for the start (default: /etc/postern/host-firewall.nft)",
  ] as const;
  parent
    .command("save")
    .description("keep the confirmed rules for the next start of this machine")
    .option(...file)
    .action(async (options: SaveOptions) => {
      const { saveProfile } = await import("../host-profile/boot.ts");
      await saveProfile(command, options, context);
    });
  parent
    .command("unit")
    .description("print a systemd unit that loads the saved rules when this machine starts")
    .option(...file)
    .action(async (options: SaveOptions) => {
      const { printUnit } = await import("../host-profile/boot.ts");
      printUnit(options, context);
    });
  parent
    .command("status")
    .description("say whether rules are in force, tried, or were not confirmed")
    .option("--json", "for programs: kind, remainingSeconds")
    .action(async ({ json }: { readonly json?: boolean }) => {
      const { profileStatus } = await import("../host-profile/apply.ts");
      await profileStatus(json === true, context);
    });
  parent
    .command("remove")
    .description("let everything through again")
    .action(async () => {
      const { removeProfile } = await import("../host-profile/apply.ts");
      await removeProfile(context);
    });
}

function examples(command: ProfileCommand, lines: readonly string[]): string {
  return ["", "Examples:", ...lines.map((line) => `  postern ${command} ${line}`)].join("\n");
}

/** `postern lockdown`: a firewall for the whole machine that a server runs on. */
export function registerLockdown(program: Command, context: CommandContext): void {
  const lockdown = program
    .command("lockdown")
    .description("drop all traffic of this machine but knocks, its own hidden services and what you list")
    .addHelpText(
      "after",
      examples("lockdown", [
        "show --in tcp/22@192.168.1.0/24 --out udp/123    what would be in force",
        "apply --in tcp/22 --out udp/53@192.168.1.1       tries it for a minute",
        "confirm                                          keeps it",
        "save                                             for the next start of the machine, too",
      ]),
    );
  withServer(lockdown.command("show"))
    .description("print the rules, as a file for nft -f, and change nothing")
    .action(async (options: LockdownOptions) => {
      const { serverProfile } = await import("../host-profile/server-profile.ts");
      const { showProfile } = await import("../host-profile/apply.ts");
      showProfile(serverProfile(options, context), context);
    });
  withTrial(withServer(lockdown.command("apply")))
    .description("show the rules, ask, and try them for a time: they end by themselves unless confirmed")
    .action(async (options: LockdownOptions & ApplyOptions) => {
      const { serverProfile } = await import("../host-profile/server-profile.ts");
      const { applyProfile } = await import("../host-profile/apply.ts");
      await applyProfile(serverProfile(options, context), options, "lockdown", context);
    });
  registerAfterwards(lockdown, "lockdown", context);
}

/** `postern agent`: a firewall for a device that only talks to its servers. */
export function registerAgent(program: Command, context: CommandContext): void {
  const agent = program
    .command("agent")
    .description("hide this machine, a device, and let it talk to its servers only")
    .addHelpText(
      "after",
      examples("agent", [
        "apply --bundle sensor-17.json --out udp/123      tries it for a minute",
        "apply --server 192.168.1.126:8883 --in tcp/22    the same without a bundle",
        "confirm                                          keeps it",
        "save                                             for the next start of the machine, too",
      ]),
    );
  withDevice(agent.command("show"))
    .description("print the rules, as a file for nft -f, and change nothing")
    .action(async (options: AgentOptions) => {
      const { deviceProfile } = await import("../host-profile/device-profile.ts");
      const { showProfile } = await import("../host-profile/apply.ts");
      showProfile(await deviceProfile(options, context), context);
    });
  withTrial(withDevice(agent.command("apply")))
    .description("show the rules, ask, and try them for a time: they end by themselves unless confirmed")
    .action(async (options: AgentOptions & ApplyOptions) => {
      const { deviceProfile } = await import("../host-profile/device-profile.ts");
      const { applyProfile } = await import("../host-profile/apply.ts");
      await applyProfile(await deviceProfile(options, context), options, "agent", context);
    });
  registerAfterwards(agent, "agent", context);
}
