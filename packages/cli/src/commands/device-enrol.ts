import type { Command } from "commander";

import { wholeNumber } from "../client/options.ts";
import type { CommandContext } from "../context.ts";
import { collected, duration } from "./values.ts";

interface EnrolOptions {
  readonly data?: string;
  readonly expires: number;
  readonly tenant: string;
  readonly role: readonly string[];
  readonly group: readonly string[];
  readonly out?: string;
  readonly json?: true;
}

interface ListOptions {
  readonly data?: string;
  readonly json?: true;
}

const dataOption = ["--data <directory>", "the server's data directory (default: ./postern-data)"] as const;

const enrolExamples = `
The token is shown once, is good for one certificate of this one device, and runs out.

Examples:
  postern device enrol boiler-7                                   prints the token and the command for the device
  postern device enrol boiler-7 --role device --expires 15m
  postern device enrol boiler-7 --out boiler-7.token              writes the token to a file, for the device alone
  postern device enrolments                                       which tokens there are, and who used them
  postern device enrolments cancel boiler-7`;

/** The command that holds all about devices, whoever declared it first. */
function deviceCommand(program: Command): Command {
  const present = program.commands.find((command) => command.name() === "device");
  return present ?? program.command("device").description("devices and how they get certificates");
}

interface ClaimOptions extends ListOptions {
  readonly prefix: string;
  readonly devices: number;
  readonly expires: number;
  readonly tenant: string;
  readonly role: readonly string[];
  readonly group: readonly string[];
  readonly out: string;
}

const claimExamples = `
A claim is a certificate for the factory: every device of a series carries the same, and it is good for one thing, to make one new device
each with a certificate and a key of its own. It lets nobody into the broker, and touches no device that is there.

Examples:
  postern device claim line-a --prefix press- --devices 500 --expires 7d --role device --out line-a.claim
  postern device claims                                           how many devices each has made
  postern device claims revoke line-a`;

function registerClaims(device: Command, context: CommandContext): void {
  device
    .command("claim")
    .argument("<name>", "how the claim is called")
    .description("make a certificate by which a series of new devices get their own")
    .option(...dataOption)
    .requiredOption("--prefix <text>", "what the names of its devices begin with")
    .requiredOption("--devices <n>", "how many devices it may make", wholeNumber(1, 100_000))
    .option("--expires <time>", "how long it can be used, such as 12h or 7d", duration, duration("7d"))
    .option("--tenant <name>", "the tenant of its devices", "default")
    .option("--role <name>", "a role of its devices; can be given again", collected, [])
    .option("--group <name>", "a group of its devices; can be given again", collected, [])
    .requiredOption("--out <file>", "the file for the devices (0600): a secret")
    .option("--json", "for programs")
    .addHelpText("after", claimExamples)
    .action(async (name: string, options: ClaimOptions) => {
      const { createClaim } = await import("../enrol/claims.ts");
      await createClaim({ ...options, name, lifeMs: options.expires * 1_000 }, context);
    });
  const list = device
    .command("claims")
    .description("list the claims and how many devices each has made")
    .option(...dataOption)
    .option("--json", "for programs")
    .action(async (options: ListOptions) => {
      const { listClaims } = await import("../enrol/claims.ts");
      await listClaims(options, context);
    });
  list
    .command("revoke")
    .argument("<name>", "the claim")
    .description("end a claim; the devices that it made stay")
    .option(...dataOption)
    .option("--json", "for programs")
    .action(async (name: string, _options: ListOptions, command: Command) => {
      const { revokeClaim } = await import("../enrol/claims.ts");
      await revokeClaim(name, command.optsWithGlobals<ListOptions>(), context);
    });
}

/** `postern device enrol` and `postern device enrolments`: one-time tokens by which devices get their certificates; `postern device claim` and `claims`: certificates for series of them. */
export function registerDeviceEnrol(program: Command, context: CommandContext): void {
  const device = deviceCommand(program);
  device
    .command("enrol")
    .argument("<name>", "the device's name; made when it is not there yet")
    .description("make a one-time token by which a device gets its certificate over the network")
    .option(...dataOption)
    .option("--expires <time>", "how long it can be used, such as 15m, 1h or 7d", duration, duration("1h"))
    .option("--tenant <name>", "the tenant of a new device", "default")
    .option("--role <name>", "a role of a new device; can be given again", collected, [])
    .option("--group <name>", "a group of a new device; can be given again", collected, [])
    .option("--out <file>", "write the token to this file (0600) instead of showing it")
    .option("--json", "for programs")
    .addHelpText("after", enrolExamples)
    .action(async (name: string, options: EnrolOptions) => {
      const { createToken } = await import("../enrol/tokens.ts");
      await createToken({ ...options, device: name, lifeMs: options.expires * 1_000 }, context);
    });
  const list = device
    .command("enrolments")
    .description("list the enrolment tokens of the last month and what became of them")
    .option(...dataOption)
    .option("--json", "for programs")
    .action(async (options: ListOptions) => {
      const { listTokens } = await import("../enrol/tokens.ts");
      await listTokens(options, context);
    });
  list
    .command("cancel")
    .argument("<which>", "a token's id, or a device's name for all of its tokens")
    .description("make a token useless that was not used yet")
    .option(...dataOption)
    .option("--json", "for programs")
    .action(async (which: string, _options: ListOptions, command: Command) => {
      const { cancelTokens } = await import("../enrol/tokens.ts");
      await cancelTokens(which, command.optsWithGlobals<ListOptions>(), context);
    });
  registerClaims(device, context);
}
