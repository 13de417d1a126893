import { InvalidArgumentError, Option, type Command } from "commander";

import { seconds } from "../client/options.ts";
import type { CommandContext } from "../context.ts";
import type {
  CreateOptions,
  KeysOptions,
  ServerKeysOptions,
  MembersOptions,
  RotateGroupOptions,
  WatchOptions,
} from "../keys/group-commands.ts";
import { collected, duration } from "./values.ts";

const modes = ["encrypted", "signed+encrypted", "signed", "mac"] as const;

/** Not `undefined` for never: commander takes that for an empty text. */
function durationOrNever(text: string): number | "never" {
  return text === "never" ? text : positive(text);
}

function positive(text: string): number {
  const found = duration(text);
  if (found > 0) return found;
  throw new InvalidArgumentError("It must be more than nothing.");
}

const load = () => import("../keys/group-commands.ts");

function withKeys(command: Command): Command {
  return command
    .optionsGroup("Which key authority:")
    .option("--keys <directory>", "its directory, which holds the secrets of all groups", "postern-keys")
    .optionsGroup("Output:")
    .option("--json", "for programs");
}

function withPublishing(command: Command): Command {
  return command
    .optionsGroup("Publishing to devices:")
    .option("--bundle <file>", "bundle of the device that publishes keys (default: the one used last)")
    .option("--key <file>", "its private key (PEM), where the bundle has none")
    .option("--verbose", "say on stderr what happens");
}

function withChange(command: Command): Command {
  return withPublishing(command).option("--no-publish", "leave it to `postern keys publish`");
}

function registerCreate(group: Command, context: CommandContext): void {
  const command = group
    .command("create")
    .argument("<name>", "its name")
    .description("make a group: devices that share a key for some topics")
    .requiredOption("--topics <filter>", "topic filter of its messages; can be given again", collected)
    .addOption(
      new Option("--mode <mode>", "how its messages are protected; signed+encrypted for commands")
        .choices(modes)
        .default("encrypted"),
    )
    .option("--max-age <time>", "receivers refuse older messages, such as 5m (default: any age)", positive)
    .option("--retained", "receivers accept retained messages (default, but for signed+encrypted)")
    .option("--no-retained", "receivers refuse retained messages (default for signed+encrypted)")
    .addOption(
      new Option("--rotate <time>", 'a new key after this time, or "never"')
        .argParser(durationOrNever)
        .default(86_400, "24h"),
    )
    .addOption(
      new Option(
        "--grace <time>",
        "what was sealed with an old key opens so much longer; as long as messages wait for devices that are away",
      )
        .argParser(duration)
        .default(3_600, "1h"),
    )
    .option("--tenant <name>", 'whose devices they are, for a new key authority (default: "default")');
  withKeys(command)
    .addHelpText(
      "after",
      `
Examples:
  postern keys group create telemetry --topics 'plant/#'
  postern keys group create commands --topics 'plant/+/cmd' --mode signed+encrypted --max-age 5m`,
    )
    .action(async (name: string, options: CreateOptions) =>
      (await load()).createGroupCommand(name, options, context),
    );
}

function registerMembers(group: Command, context: CommandContext): void {
  const command = group
    .command("members")
    .argument("<group>", "the group")
    .description("show the members of a group, add or remove some; each change brings a new key")
    .option(
      "--add <device>",
      "a device that reads and seals: its name, its bundle or its certificate; can be given again",
      collected,
    )
    .option(
      "--add-signer <device>",
      "one whose signature the others accept as well; can be given again",
      collected,
    )
    .option(
      "--remove <device>",
      "name of a device that is to read nothing more; can be given again",
      collected,
    )
    .option("--grace <time>", "with --remove: old keys still open so long (default: not at all)", duration)
    .option("--no-trust", "do not write into a member's bundle whose keys it takes")
    .option("--data <directory>", "where bundles are found by name", "postern-data");
  withKeys(withChange(command))
    .addHelpText(
      "after",
      `
Examples:
  postern keys group members telemetry --add press-7 --add panel.json
  postern keys group members commands --add-signer panel.json --add press-7
  postern keys group members telemetry --remove press-7`,
    )
    .action(async (name: string, options: MembersOptions) =>
      (await load()).membersCommand(name, options, context),
    );
}

function registerRotate(group: Command, context: CommandContext): void {
  const command = group
    .command("rotate")
    .argument("[group]", "the group")
    .description("give a group a new key now")
    .option("--due", "each group whose time for a new key has come");
  withKeys(withChange(command))
    .addHelpText(
      "after",
      `
Examples:
  postern keys group rotate telemetry
  postern keys group rotate --due`,
    )
    .action(async (name: string | undefined, options: RotateGroupOptions) =>
      (await load()).rotateCommand(name, options, context),
    );
}

function registerList(group: Command, context: CommandContext): void {
  const command = group
    .command("list")
    .argument("[group]", "only this one, with its members and epochs")
    .description("list groups; never their secrets");
  withKeys(command)
    .addHelpText(
      "after",
      `
Examples:
  postern keys group list
  postern keys group list commands --json`,
    )
    .action(async (name: string | undefined, options: KeysOptions) =>
      (await load()).listCommand(name, options, context),
    );
}

function registerMacKeys(group: Command, context: CommandContext): void {
  const command = group
    .command("mac-keys")
    .argument("<group>", "a group with the mode mac")
    .description("write the keys with which the server checks the MACs of a group, now and with each new key")
    .requiredOption("--file <file>", "where to; permissions.yaml names it under payloads, as macKeys");
  withKeys(command)
    .addHelpText(
      "after",
      `
With these keys the server can make MACs, too, and read nothing that is encrypted.

Example:
  postern keys group mac-keys meters --file postern-data/meters.mac.json`,
    )
    .action(async (name: string, options: ServerKeysOptions) =>
      (await load()).serverKeysCommand(name, "macKeys", { options, context }),
    );
}

function registerGroupKeys(group: Command, context: CommandContext): void {
  const command = group
    .command("group-keys")
    .argument("<group>", "a group with the mode encrypted")
    .description(
      "write the keys with which the server seals for a group what devices without TLS send it, now and with each new key",
    )
    .requiredOption("--file <file>", "where to; permissions.yaml names it under payloads, as groupKeys");
  withKeys(command)
    .addHelpText(
      "after",
      `
With these keys the server reads everything that is said in the group, as its members do.

Example:
  postern keys group group-keys telemetry --file postern-data/telemetry.keys.json`,
    )
    .action(async (name: string, options: ServerKeysOptions) =>
      (await load()).serverKeysCommand(name, "groupKeys", { options, context }),
    );
}

function registerPublish(keys: Command, context: CommandContext): void {
  const command = keys
    .command("publish")
    .description(
      "publish to each device the keys of its groups, encrypted to its certificate ($keys/DEVICE, retained)",
    )
    .option("--watch", "go on: publish what changes, and give groups new keys when it is time")
    .addOption(
      new Option("--every <seconds>", "with --watch: how often to look")
        .argParser(seconds(0.1, 3_600))
        .default(30),
    );
  withKeys(withPublishing(command))
    .addHelpText(
      "after",
      `
Examples:
  postern keys publish --bundle key-authority.json
  postern keys publish --watch

Ends with 0 when the server has acknowledged all packages, 1 when it refused one, 2 for a wrong command line, 3 when it
cannot be reached, 130 when interrupted.`,
    )
    .action(async (options: WatchOptions) => (await load()).publishCommand(options, context));
}

/** `postern keys`: the keys of sealed payloads. */
export function registerKeys(program: Command, context: CommandContext): void {
  const keys = program
    .command("keys")
    .description("keys for payloads that are sealed end to end, which the server cannot read");
  const group = keys.command("group").description("groups of devices that share the keys of some topics");
  registerCreate(group, context);
  registerMembers(group, context);
  registerRotate(group, context);
  registerList(group, context);
  registerMacKeys(group, context);
  registerGroupKeys(group, context);
  registerPublish(keys, context);
}
