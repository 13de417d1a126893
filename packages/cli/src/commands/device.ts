import { InvalidArgumentError, Option, type Command } from "commander";

import type { CommandContext } from "../context.ts";
import type {
  AddOptions,
  ListOptions,
  PlaceOptions,
  RevokeOptions,
  RotateOptions,
  SetOptions,
} from "../devices/device-commands.ts";
import { wholeNumber } from "../client/options.ts";
import { collected, duration, withPlace } from "./values.ts";

const credentialKinds = ["certificate", "password", "psk", "token"] as const;
const keyTypes = ["P-256", "Ed25519"] as const;
const reasons = [
  "unspecified",
  "keyCompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "privilegeWithdrawn",
] as const;
const states = ["active", "revoked", "removed"] as const;

/** An option of few words that may be given again. */
function choiceOf(flags: string, description: string, choices: readonly string[]): Option {
  return new Option(flags, description).choices(choices).argParser((text: string, before: unknown) => {
    if (!choices.includes(text)) throw new InvalidArgumentError(`It must be one of ${choices.join(", ")}.`);
    return [...(Array.isArray(before) ? before : []), text];
  });
}

function withCredentials(command: Command): Command {
  return command
    .option("--days <number>", "life of the certificate or token (default: 30)", wholeNumber(1, 3_650))
    .addOption(
      new Option("--key-type <type>", "kind of key to make for the certificate (default: P-256)").choices(
        keyTypes,
      ),
    )
    .option(
      "--csr <file>",
      "certify the key of this certification request (PEM); the device keeps the private key",
    )
    .option(
      "--password-file <file>",
      "file with a chosen password in its first line (default: one is generated)",
    )
    .option(
      "--bundle <file>",
      "where to write the bundle (default: NAME.json in the data directory's bundles)",
    )
    .option("--force", "replace a bundle that is there");
}

const load = () => import("../devices/device-commands.ts");

function registerAdd(device: Command, context: CommandContext): void {
  const command = device
    .command("add")
    .argument("<name>", "its name: letters, digits, dots, underscores and hyphens")
    .description("add a device, and write the bundle it connects with")
    .addOption(
      choiceOf(
        "--auth <kind>",
        "what it proves itself by; can be given again (default: certificate)",
        credentialKinds,
      ),
    )
    .option("--role <name>", "role; can be given again (default: device)", collected)
    .option("--no-roles", "no role: it may do nothing yet")
    .option("--group <name>", "group; can be given again", collected)
    .option("--tenant <name>", "whose device it is", "default")
    .option("--reuse-name", "give it the name of a device that was removed");
  withPlace(withCredentials(command))
    .addHelpText(
      "after",
      `
Examples:
  postern device add press-7
  postern device add press-7 --role observer --group hall-2 --bundle press-7.json
  postern device add meter-1 --auth password --auth certificate
  postern device add gateway --csr gateway.csr`,
    )
    .action(async (name: string, options: AddOptions) => (await load()).addDevice(name, options, context));
}

function registerList(device: Command, context: CommandContext): void {
  const command = device
    .command("list")
    .argument("[pattern]", "only these names; * stands for anything")
    .description("list devices: state, roles, groups, what they prove themselves by and when that ends")
    .option("--role <name>", "only those with this role; can be given again", collected)
    .option("--group <name>", "only those in this group; can be given again", collected)
    .addOption(choiceOf("--auth <kind>", "only those that prove themselves by this", credentialKinds))
    .addOption(
      choiceOf("--state <state>", "only these; can be given again (default: active and revoked)", states),
    )
    .option(
      "--ends-within <days>",
      "only those that can prove nothing in so many days",
      wholeNumber(0, 36_500),
    );
  withPlace(command)
    .addHelpText(
      "after",
      `
Examples:
  postern device list 'press-*'
  postern device list --role observer --json
  postern device list --ends-within 7`,
    )
    .action(async (pattern: string | undefined, options: ListOptions) =>
      (await load()).listDevices(pattern, options, context),
    );
}

function registerSet(device: Command, context: CommandContext): void {
  const command = device
    .command("set")
    .argument("<name>", "the device")
    .description("change the roles and groups of a device; live sessions follow at once")
    .option("--role <name>", "this role instead of all it has; can be given again", collected)
    .option("--add-role <name>", "one more role; can be given again", collected)
    .option("--remove-role <name>", "one role less; can be given again", collected)
    .option("--no-roles", "no role any more: it may do nothing")
    .option("--group <name>", "this group instead of all it is in; can be given again", collected)
    .option("--add-group <name>", "one more group; can be given again", collected)
    .option("--remove-group <name>", "one group less; can be given again", collected)
    .option("--no-groups", "no group any more");
  withPlace(command)
    .addHelpText(
      "after",
      "\nExample:\n  postern device set press-7 --add-role observer --remove-group hall-2",
    )
    .action(async (name: string, options: SetOptions) => (await load()).setDevice(name, options, context));
}

function registerRotate(device: Command, context: CommandContext): void {
  const command = device
    .command("rotate")
    .argument("<name>", "the device")
    .description("give a device new credentials; a certificate or token it has stays good for a while")
    .addOption(
      choiceOf("--auth <kind>", "only this; can be given again (default: all that it has)", credentialKinds),
    )
    .addOption(
      new Option("--overlap <time>", "how long the old certificate or token stays good: 90s, 30m, 24h, 7d")
        .argParser(duration)
        .default(86_400, "24h"),
    )
    .option(
      "--now",
      "no overlap: the old ones are revoked, the old knock key opens nothing, and live connections end",
    )
    .option("--reinstate", "let a revoked device in again, with the new credentials alone");
  withPlace(withCredentials(command))
    .addHelpText(
      "after",
      `
There is one password and one pre-shared key at a time: the old one ends at once.

Examples:
  postern device rotate press-7
  postern device rotate press-7 --now --bundle press-7.json`,
    )
    .action(async (name: string, options: RotateOptions) =>
      (await load()).rotateDevice(name, options, context),
    );
}

function registerRevoke(device: Command, context: CommandContext): void {
  const command = device
    .command("revoke")
    .argument("<name>", "the device")
    .description(
      "trust a device no more: its connections end at once, its sessions are forgotten, no new one is let in",
    )
    .addOption(
      new Option("--reason <reason>", "for the revocation list").choices(reasons).default("unspecified"),
    )
    .option(
      "--certificate <serial>",
      "only this certificate: the beginning of its serial number or fingerprint",
    )
    .option("--token <id>", "only this token");
  withPlace(command)
    .addHelpText(
      "after",
      `
Examples:
  postern device revoke press-7 --reason keyCompromise
  postern device revoke press-7 --certificate 4F2A`,
    )
    .action(async (name: string, options: RevokeOptions) =>
      (await load()).revokeDevice(name, options, context),
    );
}

/** `postern device …`: who may connect. */
export function registerDevice(program: Command, context: CommandContext): void {
  const device = program
    .command("device")
    .description("add, list, change, rotate, revoke and remove devices");
  registerAdd(device, context);
  registerList(device, context);
  withPlace(
    device
      .command("show")
      .argument("<name>", "the device")
      .description("show a device with its certificates and tokens, and when they end"),
  ).action(async (name: string, options: PlaceOptions) => (await load()).showDevice(name, options, context));
  registerSet(device, context);
  registerRotate(device, context);
  registerRevoke(device, context);
  withPlace(
    device
      .command("remove")
      .argument("<name>", "the device")
      .description("take a device out of use for good: as revoke, and its passwords and keys are forgotten"),
  ).action(async (name: string, options: PlaceOptions) =>
    (await load()).removeDevice(name, options, context),
  );
}
