import type { Command } from "commander";

import type { CaOptions, ExportOptions, PassphraseOptions, RenewOptions } from "../ca/ca-commands.ts";
import type { CommandContext } from "../context.ts";
import { withPlace } from "./values.ts";

const load = () => import("../ca/ca-commands.ts");

const passphrase = [
  "--passphrase-file <file>",
  "file with the passphrase in its first line (default: asked for on the terminal)",
] as const;

/** `postern ca …`: the certificate authority, for years. */
export function registerCa(program: Command, context: CommandContext): void {
  const ca = program.command("ca").description("look after the server's own certificate authority");
  withPlace(
    ca.command("show").description("show root, issuing and server certificates, and when they end"),
  ).action(async (options: CaOptions) => (await load()).showCa(options, context));
  withPlace(
    ca
      .command("export-root")
      .argument("<file>", "a file that is not there yet")
      .description("write the root with its key, encrypted with a passphrase, to a file, and read it back")
      .option(...passphrase)
      .option(
        "--remove",
        "then remove the key from this machine: it is needed again to renew the issuing authority",
      ),
  )
    .addHelpText("after", "\nExample:\n  postern ca export-root /media/stick/root.pem --remove")
    .action(async (file: string, options: ExportOptions) =>
      (await load()).exportRootCommand(file, options, context),
    );
  withPlace(
    ca
      .command("remove-root")
      .argument("<file>", "what `postern ca export-root` wrote: it is read, to be sure of it")
      .description("remove the root's key from this machine, after an export")
      .option(...passphrase),
  ).action(async (file: string, options: PassphraseOptions) =>
    (await load()).removeRootCommand(file, options, context),
  );
  withPlace(
    ca
      .command("renew-issuing")
      .description("put a new issuing authority in the place of the present one, signed by the root")
      .option("--root <file>", "what `postern ca export-root` wrote (default: the key on this machine)")
      .option(...passphrase)
      .option("--distrust-old", "its key is in wrong hands: nothing that it signed is good any more"),
  )
    .addHelpText("after", "\nExample:\n  postern ca renew-issuing --root /media/stick/root.pem")
    .action(async (options: RenewOptions) => (await load()).renewIssuingCommand(options, context));
}
