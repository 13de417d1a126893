/**
 * `node gate-program.ts DIRECTORY`: a gate with the kernel's firewall. Says "ready", and on SIGTERM, a line of JSON each, when the knocks that
 * opened came to each stage, and what the process did.
 */
import { subscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { join } from "node:path";
import { monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks";

import { systemClock } from "@postern/core/clock";
import { silentLog } from "@postern/core/log";
import { AcceptedMemory } from "@postern/gate/accepted-memory";
import { BanList } from "@postern/gate/ban-list";
import { Gate } from "@postern/gate/gate";
import { defaultGuardPlan } from "@postern/gate/guard-plan";
import { watchFirewall } from "@postern/gate/firewall-watch";
import { KernelHints } from "@postern/gate/kernel-hints";
import { traceChannel } from "@postern/gate/knock-trace";
import { listenUdp } from "@postern/gate/knock-sockets";
import { NftablesFirewall } from "@postern/gate/nftables/nftables-firewall";
import { defaultBanRule, Sentry } from "@postern/gate/sentry";
import { gateId, master, servicePort } from "@postern/gate/testing/test-gate";
import { Spa1Verifier } from "@postern/knock/spa1/verifier";

import { knockPort } from "./ports.ts";

const [directory = "."] = process.argv.slice(2);
const nowMs = (): number => systemClock.wallMs();

await using firewall = await NftablesFirewall.open({ clock: systemClock });
firewall.hide({
  ...defaultGuardPlan,
  hiddenPorts: [servicePort],
  knockPorts: [{ transport: "udp", port: knockPort, payloadBytes: { min: 84, max: 84 } }],
});
const memory = new AcceptedMemory(join(directory, "accepted-knocks"), { isNew: true, nowMs });
const sentry = new Sentry({ ...defaultBanRule, strict: false });
const bans = new BanList({ path: join(directory, "bans"), sentry, firewall, log: silentLog });
const spa1 = new Spa1Verifier(
  {
    gateId,
    counters: memory,
    services: new Map([[1, [servicePort]]]),
    countersLostAtMs: memory.lostAtMs,
    windowSecondsDefault: 10,
    windowSecondsMax: 60,
    disguisedPerSecondMax: 1_000,
  },
  nowMs(),
);
await using gate = new Gate({ clock: systemClock, log: silentLog, firewall, memory, bans, spa1, master });
const hints = new KernelHints({ table: spa1.table, firewall, clock: systemClock, log: silentLog });
using watching = watchFirewall(firewall, {
  log: silentLog,
  onExposed: () => undefined,
  onRepaired: () => hints.tellAll(),
});
void watching;
await gate.listen(join(directory, "gate.sock"));
await using port = await listenUdp({ host: "::", port: knockPort }, (bytes, source) =>
  gate.knock(bytes, source, spa1),
);
const traces: unknown[] = [];
subscribe(traceChannel, (trace) => traces.push(trace));
const loop = monitorEventLoopDelay({ resolution: 1 });
let collectedMsMax = 0;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) collectedMsMax = Math.max(collectedMsMax, duration);
}).observe({ entryTypes: ["gc"] });
console.log(`ready on ${port.port}`);
process.on("SIGUSR2", () => {
  traces.length = 0;
  loop.enable();
  begin = process.cpuUsage();
  collectedMsMax = 0;
});
let begin = process.cpuUsage();
await once(process, "SIGTERM");
const { user, system } = process.cpuUsage(begin);
const counts = firewall.counts();
console.log(
  JSON.stringify({
    traces,
    processorMs: (user + system) / 1_000,
    loopMs: { p99: loop.percentile(99) / 1e6, most: loop.max / 1e6 },
    collectedMsMax,
    judged: counts.get("knocks") ?? 0,
    dropped: counts.get("knocks_limited") ?? 0,
    bans: sentry.banCount,
  }),
);
