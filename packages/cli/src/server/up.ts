import { isLoopback } from "@postern/core/host";

import { ConfigError } from "../config/errors.ts";
import { selectConfiguration, type SelectOptions, type Selection } from "../config/select.ts";
import type { CommandContext } from "../context.ts";
import { tellReady, toldToStop } from "../gate/children.ts";
import { gateImpossible } from "../gate/privileges.ts";
import { version } from "../version.ts";
import { renderBanner } from "./banner.ts";
import { createServerLog } from "./log.ts";
import { startServer } from "./server.ts";

export interface UpOptions extends SelectOptions {
  /** This is the server that a gate was started for. */
  readonly besideGate?: boolean | undefined;
}

/** Runs the server until SIGINT, SIGTERM or the admin API ends it. @throws {PosternError} when it cannot start. */
export async function runUp(
  { besideGate = false, ...select }: UpOptions,
  context: CommandContext,
): Promise<void> {
  const chosen = (hidden: boolean): Selection => selectConfiguration({ ...select, hidden }, context.cwd);
  if (besideGate) return await serve(chosen(true), true, context);
  let impossible = gateImpossible();
  let selection = chosen(impossible === undefined);
  if (selection.configuration.gate !== undefined && impossible === undefined) {
    impossible = await noFirewall();
    if (impossible === undefined) return await superviseGate(select, selection, context);
    selection = chosen(false);
  }
  await serve(withoutGate(selection, impossible), false, context);
}

async function noFirewall(): Promise<string | undefined> {
  const { firewallUnavailable } = await import("@postern/gate/nftables/availability");
  const why = await firewallUnavailable();
  return why === undefined ? undefined : why.replace(/^./, (first) => first.toLowerCase()).replace(/\.$/, "");
}

/** What is to be hidden and cannot be is for this machine alone. @throws {ConfigError} when the configuration says otherwise. */
function withoutGate(selection: Selection, impossible: string | undefined): Selection {
  const { configuration } = selection;
  if (configuration.gate === undefined || impossible === undefined) return selection;
  const open = configuration.listeners.find(
    ({ address }) => address.kind !== "unix" && !isLoopback(address.host),
  );
  if (open !== undefined) {
    throw new ConfigError(
      `${open.name} is to be hidden by the gate, and cannot be: ${impossible}; start as root, let it listen on 127.0.0.1, or say "mode: off" under gate: to have it seen by everybody`,
      { file: configuration.file ?? "the configuration" },
    );
  }
  const warning = `there is no gate, and listeners are on loopback only: ${impossible}`;
  return {
    ...selection,
    configuration: { ...configuration, gate: undefined, warnings: [...configuration.warnings, warning] },
  };
}

async function superviseGate(
  select: SelectOptions,
  { configuration, data }: Selection,
  context: CommandContext,
): Promise<void> {
  const { runSupervisor } = await import("../gate/supervisor.ts");
  const serverLog = createServerLog(context, configuration.log);
  try {
    await runSupervisor({ configuration, data, select, log: serverLog.log }, context);
  } finally {
    serverLog.flush();
  }
}

async function serve(
  { configuration, data }: Selection,
  besideGate: boolean,
  context: CommandContext,
): Promise<void> {
  const { cwd } = context;
  const serverLog = createServerLog(context, configuration.log);
  const { log } = serverLog;
  const interruption = context.interruption();
  const asked = new AbortController();
  const stop = besideGate ? [toldToStop()] : [];
  try {
    await using server = await startServer({
      configuration,
      data,
      cwd,
      log,
      onShutdown: () => asked.abort(),
      besideGate,
    });
    const hangup = context.onHangup(() => void server.reload());
    context.ignoreOutputErrors();
    context.stdout.write(renderBanner(server, { program: context.program, cwd, version }));
    if (besideGate) tellReady();
    await aborted(AbortSignal.any([interruption, asked.signal, ...stop]));
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
