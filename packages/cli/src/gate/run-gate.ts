import { selectConfiguration, type SelectOptions } from "../config/select.ts";
import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { createServerLog } from "../server/log.ts";
import { tellReady, toldToStop } from "./children.ts";
import { startGate } from "./gate-process.ts";

/** The gate's process, started by `postern up`. @throws {PosternError} when it cannot start; what it hid stays hidden. */
export async function runGate(select: SelectOptions, context: CommandContext): Promise<void> {
  const { cwd } = context;
  const { configuration, data } = selectConfiguration({ ...select, hidden: true }, cwd);
  const { gate } = configuration;
  if (gate === undefined)
    throw new UsageError("this is started by postern up, where the configuration has a gate:");
  const serverLog = createServerLog(context, configuration.log);
  // A Ctrl-C reaches the whole group of processes: the gate goes last, when it is told to.
  context.interruption();
  const stop = toldToStop();
  try {
    await using running = await startGate({ configuration, gate, data, cwd, log: serverLog.log });
    void running;
    context.ignoreOutputErrors();
    tellReady();
    await new Promise<void>((resolve) => {
      if (stop.aborted) resolve();
      else stop.addEventListener("abort", () => resolve(), { once: true });
    });
  } finally {
    serverLog.flush();
  }
}
