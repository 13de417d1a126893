/**
 * `node gate-program.ts DEVICES DIRECTORY`: a gate with the kernel's firewall, a service that it hides, and a broker that knows so many
 * devices. Says "ready", and on SIGTERM what it counted.
 */
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";

import { systemClock } from "@postern/core/clock";
import { silentLog } from "@postern/core/log";
import { AcceptedMemory } from "@postern/gate/accepted-memory";
import { BanList } from "@postern/gate/ban-list";
import { Gate } from "@postern/gate/gate";
import { defaultGuardPlan } from "@postern/gate/guard-plan";
import { KernelHints } from "@postern/gate/kernel-hints";
import { listenUdp } from "@postern/gate/knock-sockets";
import { BrokerLink } from "@postern/gate/link/broker-link";
import { NftablesFirewall } from "@postern/gate/nftables/nftables-firewall";
import { defaultBanRule, Sentry } from "@postern/gate/sentry";
import { gateId, linkDevice, master, servicePort, until } from "@postern/gate/testing/test-gate";
import { Spa1Verifier } from "@postern/knock/spa1/verifier";

const knockPort = 62_201;
const [count = "10", directory = "."] = process.argv.slice(2);
const nowMs = (): number => systemClock.wallMs();

const server = createServer((socket) => socket.on("error", () => {})).listen(servicePort, "::");
await once(server, "listening");

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
const socket = join(directory, "gate.sock");
await gate.listen(socket);
await using port = await listenUdp({ host: "::", port: knockPort }, (bytes, source) =>
  gate.knock(bytes, source, spa1),
);
const devices = Array.from({ length: Number(count) }, (_, index) => linkDevice(`device-${index}`));
using broker = new BrokerLink({
  path: socket,
  source: { devices: () => devices, connections: () => [] },
  nowMs,
  log: silentLog,
});
await until(() => spa1.table.size === devices.length && !spa1.table.step(0), 120_000);
const begin = process.cpuUsage();
console.log(`ready ${broker.connected} ${port.port} ${String(hints !== undefined)}`);
await once(process, "SIGTERM");
const { user, system } = process.cpuUsage(begin);
const counts = firewall.counts();
console.log(
  `gate: ${Math.round((user + system) / 1_000)} ms of processor, ${counts.get("knocks") ?? 0} packets judged, ${counts.get("knocks_limited") ?? 0} dropped in the kernel, ${sentry.banCount} bans`,
);
server.close();
