import { Option, type Command } from "commander";

import type { CommandContext } from "../context.ts";
import type { EnrolOptions } from "../enrol/enrol.ts";
import type { RenewOptions } from "../enrol/renew-command.ts";

/** As in `enrol/keys.ts`, which is loaded only when the command runs. */
const keyTypes = ["P-256", "P-384", "Ed25519"] as const;

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

const enrolExamples = `
The key is made here and never leaves. The token is used up by the first certificate: keep the bundle.

Examples:
  postern enrol --url https://broker.example:8885 --fingerprint AB:CD:… --token-file boiler-7.token --bundle boiler-7.json
  postern enrol --url https://broker.example:8885 --ca root.crt --token-file boiler-7.token --bundle boiler-7.json
  postern enrol --claim line-a.claim --device press-17 --bundle press-17.json
Ends with 0, 2 for a wrong command line, 3 when the server cannot be reached or refuses, 1 for an answer that cannot be used.`;

const renewExamples = `
Does nothing before two thirds of the certificate's life are over, so it can be run every day. The old certificate stays in the file until
the new one has let us in. Long-running \`postern sub --bundle\` renews by itself.

Examples:
  postern renew --bundle boiler-7.json
  postern renew --bundle boiler-7.json --now
Ends with 0 when the certificate is renewed or not yet to be, 2 for a wrong command line or file, 3 when the server cannot be reached or
refuses, 1 for an answer that cannot be used.`;

/** `postern enrol` and `postern renew`: the device's side. */
export function registerEnrol(program: Command, context: CommandContext): void {
  program
    .command("enrol")
    .description("on a device: get a certificate for a one-time token, and write the bundle")
    .option("--url <url>", "the enrolment server (EST): https://host:port")
    .option("--ca <file>", "the certificate authority to trust (PEM)")
    .option("--fingerprint <sha256>", "or its fingerprint, as the server's administrator sees it")
    .option("--token-file <file>", "file with the token that `postern device enrol` made")
    .option(
      "--claim <file>",
      "or the claim of its series, which says the rest as well: see `postern device claim`",
    )
    .option(
      "--device <name>",
      "the device's name: with --claim, or when the token's file holds the secret alone",
    )
    .requiredOption("--bundle <file>", "the bundle to write")
    .option(
      "--server <url>",
      "the broker, when the enrolment server does not say; can be given again",
      collect,
      [],
    )
    .addOption(new Option("--key-type <type>", "kind of key to make").choices(keyTypes).default("P-256"))
    .option("--force", "replace a bundle that is there")
    .option("--json", "for programs")
    .addHelpText("after", enrolExamples)
    .action(async (options: EnrolOptions) => {
      const { enrol } = await import("../enrol/enrol.ts");
      await enrol(options, context);
    });
  program
    .command("renew")
    .description("on a device: renew the certificate in a bundle when it is time")
    .requiredOption("--bundle <file>", "the device's bundle")
    .option("--url <url>", "the enrolment server, when the bundle does not say: https://host:port")
    .option("--now", "also when it is not time yet")
    .option("--json", "for programs")
    .addHelpText("after", renewExamples)
    .action(async (options: RenewOptions) => {
      const { renew } = await import("../enrol/renew-command.ts");
      await renew(options, context);
    });
}
