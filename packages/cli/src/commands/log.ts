import { Argument, type Command } from "commander";

import type { CommandContext } from "../context.ts";

/** As in the configuration's schema, which is loaded only when a command needs it. */
const levels = ["trace", "debug", "info", "warn", "error", "silent"] as const;

async function setLevel(level: string, data: string | undefined, context: CommandContext): Promise<void> {
  const { askServer, existingDataDirectory } = await import("../admin/client.ts");
  const { nothing } = await import("../admin/protocol.ts");
  const { resolveDataDirectory } = await import("../config/select.ts");
  const directory = existingDataDirectory(resolveDataDirectory(data, context.cwd));
  await askServer(directory, context.cwd, {
    method: "PUT",
    path: "/log/level",
    body: { level },
    answer: nothing,
  });
  context.stdout.write(`the log level is ${level} until the server is started again\n`);
}

/** `postern log level`: a running server's log. */
export function registerLog(program: Command, context: CommandContext): void {
  program
    .command("log")
    .description("the log of a running server")
    .command("level")
    .addArgument(new Argument("<level>").choices(levels))
    .description("change how much a running server logs")
    .option("--data <directory>", "its data directory (default: ./postern-data)")
    .action((level: string, { data }: { readonly data?: string }) => setLevel(level, data, context));
}
