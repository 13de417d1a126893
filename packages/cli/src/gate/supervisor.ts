import type { Log } from "@postern/core/log";

import type { Configuration } from "../config/configuration.ts";
import type { SelectOptions } from "../config/select.ts";
import type { CommandContext } from "../context.ts";
import { Child } from "./children.ts";
import type { Patience } from "./heartbeat.ts";
import { servicePorts } from "./guard.ts";
import { runAs, withOnly } from "./privileges.ts";

/** A new gate is there within a second, and what is open stays so little time that nothing is lost by another. */
const gatePatience: Patience = { idleBeats: 5, busyBeats: 60 };
/** A broker that is only busy is never ended: that would cut off all its clients. */
const serverPatience: Patience = { idleBeats: 30, busyBeats: Infinity };

/** The gate has little to do, and who knocks waits for it: a server that is busy with others must not make it late. */
const gatePriority = -10;

/** Ports below this need a right of their own to listen on. */
const privilegedPortEnd = 1_024;

export interface SupervisorOptions {
  readonly configuration: Configuration;
  /** Absolute path of the data directory. */
  readonly data: string;
  /** As on the command line. */
  readonly select: SelectOptions;
  readonly log: Log;
}

/**
 * Runs gate and server as two processes with no more rights than each needs, and starts either again when it dies or hangs.
 *
 *     postern up (root)
 *       ├─ gate     CAP_NET_ADMIN      first: nothing listens before it is hidden
 *       └─ server   no rights at all
 */
export async function runSupervisor(options: SupervisorOptions, context: CommandContext): Promise<void> {
  const { configuration, data, select, log } = options;
  const as = runAs(configuration.gate?.user, data, configuration.file ?? "the configuration");
  const program = process.argv[1] ?? "postern";
  const own = [process.execPath, program];
  const args = Object.entries({ ...select, data }).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`, String(value)],
  );
  const privileged = [...servicePorts(configuration).values()]
    .flat()
    .some((port) => port < privilegedPortEnd);
  const interruption = context.interruption();
  const gate = new Child({
    name: "gate",
    command: [...withOnly(["net_admin"], as), ...own, "gate", "run", ...args],
    log,
    priority: gatePriority,
    patience: gatePatience,
  });
  if (!(await gate.ready)) {
    context.exitCode = (await gate.ended).code ?? 1;
    return;
  }
  const server = new Child({
    name: "server",
    command: [
      ...withOnly(privileged ? ["net_bind_service"] : [], as),
      process.execPath,
      ...memoryOptions(),
      program,
      "up",
      ...args,
      "--beside-gate",
    ],
    log,
    patience: serverPatience,
  });
  const hangup = context.onHangup(() => server.signal("SIGHUP"));
  const interrupted = new Promise<undefined>((resolve) => {
    if (interruption.aborted) resolve(undefined);
    interruption.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  const end = await Promise.race([interrupted, server.ended, gate.ended]);
  hangup[Symbol.dispose]();
  await server.stop();
  await gate.stop();
  if (end !== undefined) context.exitCode = end.code ?? 1;
}

/** How the runtime is to use memory, as `bin/postern.js` had this process begin. */
function memoryOptions(): string[] {
  return process.execArgv.filter((option) =>
    /^--(max-semi-space-size|external-memory-accounted-in-global-limit|no-maglev-destroy-on-background|expose-gc)/.test(
      option,
    ),
  );
}
