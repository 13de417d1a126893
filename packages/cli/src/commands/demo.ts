import type { Command } from "commander";

import type { CommandContext } from "../context.ts";
import type { DemoOptions } from "../demo/run-demo.ts";

/** `postern demo`: the whole system on four hosts that are gone afterwards. */
export function registerDemo(program: Command, context: CommandContext): void {
  program
    .command("demo")
    .description("show a hidden server, two devices and a stranger on hosts of their own (Linux, root)")
    .option("--json", "for programs: one act a line")
    .addHelpText("after", "\nNothing of this machine's network is touched. It takes about half a minute.")
    .action(async (options: DemoOptions) => {
      const { runDemo } = await import("../demo/run-demo.ts");
      await runDemo(options, context);
    });
}
