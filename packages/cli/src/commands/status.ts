import type { Command } from "commander";

import type { CommandContext } from "../context.ts";

interface StatusOptions {
  readonly data?: string;
  readonly json?: boolean;
  readonly watch?: boolean;
}

const watchMs = 2_000;

/** Clears the terminal and goes to its first line. */
const clear = "\u001b[2J\u001b[H";

function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

async function status({ data, json, watch }: StatusOptions, context: CommandContext): Promise<void> {
  const { askServer, existingDataDirectory } = await import("../admin/client.ts");
  const { statusSchema } = await import("../admin/protocol.ts");
  const { renderStatus } = await import("../admin/render-status.ts");
  const { resolveDataDirectory } = await import("../config/select.ts");
  const { stdout, cwd } = context;
  const directory = existingDataDirectory(resolveDataDirectory(data, cwd));
  const show = async (before: string): Promise<void> => {
    const found = await askServer(directory, cwd, { method: "GET", path: "/status", answer: statusSchema });
    stdout.write(json === true ? `${JSON.stringify(found)}\n` : before + renderStatus(found));
  };
  if (watch !== true) return show("");
  const interruption = context.interruption();
  while (!interruption.aborted) {
    await show(stdout.isTTY === true ? clear : "");
    await delay(watchMs, interruption);
  }
}

/** `postern status`: what a running server does. */
export function registerStatus(program: Command, context: CommandContext): void {
  program
    .command("status")
    .description("show what a running server does: listeners, clients, sessions, queues, rates, certificates")
    .option("--data <directory>", "its data directory (default: ./postern-data)")
    .option("--json", "for programs, one object a line")
    .option("--watch", "again every two seconds, until Ctrl-C")
    .action((options: StatusOptions) => status(options, context));
}
