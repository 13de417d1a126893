import { Option, type Command } from "commander";

import type { SelectOptions } from "../config/select.ts";
import type { CommandContext } from "../context.ts";
import type { GateOptions } from "../gate/operate.ts";

function withData(command: Command): Command {
  return command.option("--data <directory>", "data directory of the server (default: ./postern-data)");
}

/** `postern gate`: what the gate of a running server does. */
export function registerGate(program: Command, context: CommandContext): void {
  const gate = program
    .command("gate")
    .description("look at the gate of a running server, or remove what it left");
  withData(gate.command("status"))
    .description("who knocked, which windows are open, how many are locked out")
    .option("--json", "everything, as JSON")
    .addHelpText("after", "\nExample:\n  postern gate status --data /var/lib/postern")
    .action(async (options: GateOptions) => {
      const { showStatus } = await import("../gate/operate.ts");
      await showStatus(options, context);
    });
  withData(gate.command("watch"))
    .description("the same, again and again, until Ctrl-C")
    .action(async (options: GateOptions) => {
      const { watch } = await import("../gate/operate.ts");
      await watch(options, context);
    });
  withData(gate.command("reset"))
    .description("show what a stopped server's gate still hides: remove its rules from the kernel")
    .action(async (options: GateOptions) => {
      const { resetGate } = await import("../gate/reset.ts");
      await resetGate(options, context);
    });
  withData(gate.command("run", { hidden: true }))
    .description("the gate's own process, started by postern up")
    .option("--config <file>", "configuration")
    .addOption(new Option("--bind <address>").hideHelp())
    .action(async (options: SelectOptions) => {
      const { runGate } = await import("../gate/run-gate.ts");
      await runGate(options, context);
    });
}
