import type { Command } from "commander";

import { wholeNumber } from "../client/options.ts";
import type { CommandContext } from "../context.ts";
import type { KnockOptions } from "../client/run-knock.ts";

/** `postern knock`: one packet that opens the door. */
export function registerKnock(program: Command, context: CommandContext): void {
  program
    .command("knock")
    .description("send the one packet that has a hidden server let this device in")
    .requiredOption("--bundle <file>", "the device's bundle")
    .option("--close", "close the window instead")
    .option("--extend", "have an open window last longer")
    .option("--seconds <number>", "how long to ask for (default: what the gate gives)", wholeNumber(1, 3_600))
    .option("--address <address>", "behind NAT: the address that the gate sees, remembered for the next time")
    .option("--check", "then connect, to see whether the door is open")
    .option("--json", "say what was sent as JSON")
    .addHelpText(
      "after",
      `
pub, sub and tunnel knock by themselves. There is never an answer to a knock: --check tries to connect.

Examples:
  postern knock --bundle sensor-17.json --check
  postern knock --bundle sensor-17.json && mosquitto_pub --cafile ca.pem … -h broker.example.org -p 8883 …`,
    )
    .action(async (options: KnockOptions) => {
      const { runKnock } = await import("../client/run-knock.ts");
      await runKnock(options, context);
    });
}
