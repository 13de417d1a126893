/**
 * How long the gate's process is deaf to knocks while it is told 10,000 devices and makes their keys and hints, and tells these to the kernel:
 * the processor time of each turn of its event loop. Needs root. `npm run bench -- gate-devices [DEVICES]`
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { systemClock } from "@postern/core/clock";
import { silentLog } from "@postern/core/log";
import { defaultGuardPlan } from "@postern/gate/guard-plan";
import { watchFirewall } from "@postern/gate/firewall-watch";
import { KernelHints } from "@postern/gate/kernel-hints";
import { NftablesFirewall } from "@postern/gate/nftables/nftables-firewall";
import { enterNetworkNamespace } from "@postern/gate/testing/network-namespace";
import { testGate, until } from "@postern/gate/testing/test-gate";

import { distribution, figure } from "../support/report.ts";

const [devices = "10000"] = process.argv.slice(2);
await enterNetworkNamespace();
const directory = mkdtempSync(join(tmpdir(), "postern-bench-"));
try {
  await using firewall = await NftablesFirewall.open({ clock: systemClock });
  firewall.hide({
    ...defaultGuardPlan,
    hiddenPorts: [8883],
    knockPorts: [{ transport: "udp", port: 62_201, payloadBytes: { min: 84, max: 84 } }],
  });
  await using test = await testGate({ directory, clock: systemClock });
  const hints = new KernelHints({ table: test.spa1.table, firewall, clock: systemClock, log: silentLog });
  using watching = watchFirewall(firewall, {
    log: silentLog,
    onExposed: () => undefined,
    onRepaired: () => hints.tellAll(),
  });
  void watching;
  const turns: number[] = [];
  let isOver = false;
  const turn = (before: number): void => {
    const now = processorMs();
    turns.push(now - before);
    if (!isOver) setImmediate(turn, processorMs());
  };
  const begin = performance.now();
  setImmediate(turn, processorMs());
  const program = fileURLToPath(new URL("./server-program.ts", import.meta.url));
  const server = spawn(process.execPath, [program, devices, directory], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  await until(() => test.spa1.table.size === Number(devices) && !test.spa1.table.step(0), 120_000);
  figure(`${devices} devices can be recognised after`, `${Math.round(performance.now() - begin)} ms`);
  isOver = true;
  figure("processor time of a turn of the gate's event loop", distribution(turns));
  figure(
    "turns of more than 1 ms, 2 ms, 5 ms, 10 ms",
    [1, 2, 5, 10].map((ms) => turns.filter((turn) => turn > ms).length).join(", "),
  );
  server.kill("SIGTERM");
  firewall.remove();
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function processorMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}
