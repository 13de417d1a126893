import type { Command } from "commander";

import { wholeNumber } from "../client/options.ts";
import type { CommandContext } from "../context.ts";
import type { AddBanOptions, GateOptions, LiftBanOptions } from "../gate/operate.ts";

/** `postern ban`: who is locked out. */
export function registerBan(program: Command, context: CommandContext): void {
  const ban = program.command("ban").description("sources that the gate of a running server locks out");
  const data = "--data <directory>";
  const directory = "data directory of the server (default: ./postern-data)";
  ban
    .command("list")
    .description("who is locked out, and for how long")
    .option(data, directory)
    .option("--json", "as JSON")
    .action(async (options: GateOptions) => {
      const { listBans } = await import("../gate/operate.ts");
      await listBans(options, context);
    });
  ban
    .command("add")
    .description("lock out an address; of IPv6, its /64")
    .argument("<address>", "203.0.113.7, or 2001:db8::/64")
    .option("--seconds <number>", "for how long", wholeNumber(1, 31_536_000), 21_600)
    .option("--force", "also this machine's own /64, with all its neighbours")
    .option(data, directory)
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      "\nSessions stay, and a device that proves who it is comes in all the same, unless the configuration says gate.bans.strict.\n\nExample:\n  postern ban add 203.0.113.7 --seconds 3600",
    )
    .action(async (address: string, options: AddBanOptions) => {
      const { addBan } = await import("../gate/operate.ts");
      await addBan(address, options, context);
    });
  ban
    .command("lift")
    .description("let an address come again")
    .argument("[address]", "as in the list")
    .option("--all", "everybody")
    .option(data, directory)
    .option("--json", "as JSON")
    .addHelpText("after", "\nExamples:\n  postern ban lift 203.0.113.7\n  postern ban lift --all")
    .action(async (address: string | undefined, options: LiftBanOptions) => {
      const { liftBan } = await import("../gate/operate.ts");
      await liftBan(address, options, context);
    });
}
