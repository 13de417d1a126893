import { Option, type Command } from "commander";

import type { CommandContext } from "../context.ts";
import type { UpOptions } from "../server/up.ts";

/** `postern up`: the server. */
export function registerUp(program: Command, context: CommandContext): void {
  program
    .command("up")
    .description("start the server; the first start makes a certificate authority and a device bundle")
    .option("--data <directory>", "where everything is kept (default: ./postern-data)")
    .option(
      "--config <file>",
      "configuration (default: postern.yaml in the data directory, when there is one)",
    )
    .option("--bind <address>", "listen on this address instead of loopback")
    .addOption(new Option("--beside-gate", "this is the server that a gate was started for").hideHelp())
    .action(async (options: UpOptions) => {
      const { runUp } = await import("../server/up.ts");
      await runUp(options, context);
    });
}
