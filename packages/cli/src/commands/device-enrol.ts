import { InvalidArgumentError, type Command } from "commander";

import type { CommandContext } from "../context.ts";

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

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A parser for commander: `90s`, `30m`, `1h`, `7d`, in milliseconds. */
function duration(text: string): number {
  const [, number = "", unit = ""] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const ms = Number(number) * (unitMs[unit] ?? 0);
  if (ms > 0) return ms;
  throw new InvalidArgumentError("It must look like 90s, 30m, 1h or 7d.");
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

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

/** `postern device enrol` and `postern device enrolments`: one-time tokens by which devices get their certificates. */
export function registerDeviceEnrol(program: Command, context: CommandContext): void {
  const device = deviceCommand(program);
  const data = ["--data <directory>", "the server's data directory (default: ./postern-data)"] as const;
  device
    .command("enrol")
    .argument("<name>", "the device's name; made when it is not there yet")
    .description("make a one-time token by which a device gets its certificate over the network")
    .option(...data)
    .option("--expires <time>", "how long it can be used, such as 15m, 1h or 7d", duration, duration("1h"))
    .option("--tenant <name>", "the tenant of a new device", "default")
    .option("--role <name>", "a role of a new device; can be given again", collect, [])
    .option("--group <name>", "a group of a new device; can be given again", collect, [])
    .option("--out <file>", "write the token to this file (0600) instead of showing it")
    .option("--json", "for programs")
    .addHelpText("after", enrolExamples)
    .action(async (name: string, options: EnrolOptions) => {
      const { createToken } = await import("../enrol/tokens.ts");
      await createToken({ ...options, device: name, lifeMs: options.expires }, context);
    });
  const list = device
    .command("enrolments")
    .description("list the enrolment tokens of the last month and what became of them")
    .option(...data)
    .option("--json", "for programs")
    .action(async (options: ListOptions) => {
      const { listTokens } = await import("../enrol/tokens.ts");
      await listTokens(options, context);
    });
  list
    .command("cancel")
    .argument("<which>", "a token's id, or a device's name for all of its tokens")
    .description("make a token useless that was not used yet")
    .option(...data)
    .option("--json", "for programs")
    .action(async (which: string, _options: ListOptions, command: Command) => {
      const { cancelTokens } = await import("../enrol/tokens.ts");
      await cancelTokens(which, command.optsWithGlobals<ListOptions>(), context);
    });
}
