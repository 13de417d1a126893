import type { CommandContext } from "../context.ts";
import { selectConfiguration, type SelectOptions } from "../config/select.ts";
import { version } from "../version.ts";
import { renderBanner } from "./banner.ts";
import { createServerLog } from "./log.ts";
import { startServer } from "./server.ts";

/** Runs the server until SIGINT, SIGTERM or the admin API ends it. @throws {PosternError} when it cannot start. */
export async function runUp(options: SelectOptions, context: CommandContext): Promise<void> {
  const { cwd } = context;
  const { configuration, data } = selectConfiguration(options, cwd);
  const serverLog = createServerLog(context, configuration.log);
  const { log } = serverLog;
  const interruption = context.interruption();
  const asked = new AbortController();
  try {
    await using server = await startServer({
      configuration,
      data,
      cwd,
      log,
      onShutdown: () => asked.abort(),
    });
    const hangup = context.onHangup(() => void server.reload());
    context.ignoreOutputErrors();
    context.stdout.write(renderBanner(server, { program: context.program, cwd, version }));
    await aborted(AbortSignal.any([interruption, asked.signal]));
    hangup[Symbol.dispose]();
    log.info({}, "stopping: telling clients and writing what is not on disk yet; Ctrl-C again ends at once");
  } finally {
    serverLog.flush();
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
