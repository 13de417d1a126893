import { rmSync } from "node:fs";

import { AcceptedMemory } from "@postern/gate/accepted-memory";
import { BanList } from "@postern/gate/ban-list";
import { watchFirewall } from "@postern/gate/firewall-watch";
import { Gate, type Verifier } from "@postern/gate/gate";
import { KernelHints } from "@postern/gate/kernel-hints";
import { listenTcp, listenUdp } from "@postern/gate/knock-sockets";
import { NftablesFirewall } from "@postern/gate/nftables/nftables-firewall";
import { Sentry } from "@postern/gate/sentry";
import { systemClock } from "@postern/core/clock";
import type { Log } from "@postern/core/log";
import { openDataDirectory } from "@postern/identity/data-directory";
import type { Logger } from "pino";

import { unixSocketPath } from "../admin/socket-path.ts";
import type { Configuration } from "../config/configuration.ts";
import type { GateConfiguration } from "../config/gate.ts";
import { gateFiles, gateSocketName, obtainGateIdentity } from "./gate-files.ts";
import { guardPlan, hiddenPorts, servicePorts } from "./guard.ts";
import { createVerifiers } from "./verifiers.ts";

/** Where knocks come from: all addresses of the machine. */
const everywhere = "::";

export interface GateProcessOptions {
  readonly configuration: Configuration;
  readonly gate: GateConfiguration;
  readonly data: string;
  readonly cwd: string;
  readonly log: Logger;
}

/**
 * Starts the gate in this process. First of all the ports are hidden: what comes after may fail, and they stay hidden.
 * @throws {PosternError} when it cannot be done.
 */
export async function startGate(options: GateProcessOptions): Promise<AsyncDisposable> {
  const { configuration, gate: settings, data, log } = options;
  await using stack = new AsyncDisposableStack();
  const firewall = stack.use(await NftablesFirewall.open({ clock: systemClock }));
  firewall.hide(guardPlan(configuration, settings));
  const directory = openDataDirectory(data);
  const { gateId, master, created } = obtainGateIdentity(data);
  const files = gateFiles(data);
  const nowMs = systemClock.wallMs();
  // A new key: nothing that this memory could have held is of any use.
  if (created) rmSync(files.accepted, { force: true });
  const memory = new AcceptedMemory(files.accepted, { isNew: created, nowMs: () => systemClock.wallMs() });
  if (memory.lostAtMs !== undefined) warnOfLoss(log, memory.lostAtMs);
  if (memory.unsureUntilMs !== undefined) warnOfUnsureTime(log, memory.unsureUntilMs);
  const { bans: rule } = settings;
  const sentry = new Sentry({
    invalidMax: rule.invalidMax,
    withinSeconds: rule.withinMinutes * 60,
    banSeconds: Math.round(rule.hours * 3_600),
    strict: rule.strict,
  });
  const bans = new BanList({ path: files.bans, sentry, firewall, log });
  bans.restore(nowMs);
  const ports = hiddenPorts(configuration);
  const file = configuration.file ?? "";
  const services = servicePorts(configuration);
  const verifiers = createVerifiers({ gate: settings, gateId, memory, ports, services, file, nowMs });
  const gate = stack.use(
    new Gate({ clock: systemClock, log, firewall, memory, bans, spa1: verifiers.spa1, master }),
  );
  const onKnock = (verifier: Verifier) => (bytes: Uint8Array, source: Parameters<Gate["knock"]>[1]) =>
    gate.knock(bytes, source, verifier);
  const { fwknop, thesis } = settings;
  stack.use(await listenUdp({ host: everywhere, port: settings.port }, onKnock(verifiers.spa1)));
  if (fwknop !== undefined && verifiers.fwknop !== undefined)
    stack.use(await listenUdp({ host: everywhere, port: fwknop.port }, onKnock(verifiers.fwknop)));
  if (thesis !== undefined && verifiers.thesis !== undefined) {
    const listen = thesis.transport === "tcp" ? listenTcp : listenUdp;
    stack.use(await listen({ host: everywhere, port: thesis.port }, onKnock(verifiers.thesis)));
  }
  const socket = stack.use(unixSocketPath(directory.run, gateSocketName, options.cwd));
  await gate.listen(socket.path);
  const hints = new KernelHints({ table: verifiers.spa1.table, firewall, clock: systemClock, log });
  stack.use(
    watchFirewall(firewall, {
      log,
      onExposed: (exposed) => gate.expose(exposed),
      onRepaired: () => hints.tellAll(),
    }),
  );
  const closing = stack.move();
  return { [Symbol.asyncDispose]: () => closing.disposeAsync() };
}

function warnOfLoss(log: Log, lostAtMs: number): void {
  log.warn(
    { since: new Date(lostAtMs).toISOString() },
    "the gate lost its memory of accepted knocks: nothing made before is accepted, and devices without a clock need a new key",
  );
}

function warnOfUnsureTime(log: Log, untilMs: number): void {
  log.warn(
    { until: new Date(untilMs).toISOString() },
    "the machine stopped without warning: knocks that were made before this time are refused, as they may have been accepted then",
  );
}
