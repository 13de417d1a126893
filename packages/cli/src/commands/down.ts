import type { Command } from "commander";

import type { CommandContext } from "../context.ts";

async function stop(data: string | undefined, context: CommandContext): Promise<void> {
  const { askServer, existingDataDirectory } = await import("../admin/client.ts");
  const { nothing } = await import("../admin/protocol.ts");
  const { resolveDataDirectory } = await import("../config/select.ts");
  const directory = existingDataDirectory(resolveDataDirectory(data, context.cwd));
  await askServer(directory, context.cwd, { method: "POST", path: "/shutdown", answer: nothing });
  context.stdout.write(`the server on ${directory.path} is stopping\n`);
}

/** `postern down`: stops a running server as Ctrl-C would. */
export function registerDown(program: Command, context: CommandContext): void {
  program
    .command("down")
    .description("stop a running server: clients are told, sessions are kept")
    .option("--data <directory>", "its data directory (default: ./postern-data)")
    .action(({ data }: { readonly data?: string }) => stop(data, context));
}
