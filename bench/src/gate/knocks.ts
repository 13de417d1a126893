import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { createNetwork, type Host } from "@postern/gate/hosts/hosts";
import type { KnockTrace } from "@postern/gate/knock-trace";
import { floodArguments } from "@postern/gate/testing/flood";

import { watchProcessors } from "../support/processor-time.ts";
import { distribution, figure } from "../support/report.ts";
import { knockPort } from "./ports.ts";

const serverAddress = "10.9.0.1";
/** The kernel's real-time class: what else runs here waits for it. */
const underMeasurement = ["--rr", "5"];
const leastPriority = ["-n", "19"];
/** Addresses of a /16 that one host can have for this. */
const knocksMax = 1_000;

interface Knock {
  readonly device: string;
  readonly echoMs: number;
  readonly timerMs: number;
  readonly sentMs: number;
  readonly connectedMs: number | null;
}

interface GateReport {
  readonly traces: readonly KnockTrace[];
  readonly processorMs: number;
  readonly loopMs: { readonly p99: number; readonly most: number };
  readonly collectedMsMax: number;
  readonly judged: number;
  readonly dropped: number;
  readonly bans: number;
}

export interface KnockMeasurement {
  readonly knocks: readonly Knock[];
  readonly gate: GateReport;
  readonly seconds: number;
  readonly machine: string;
}

export interface KnockOptions {
  readonly devices: number;
  readonly knocks: number;
  /** Junk packets a second. */
  readonly rate: number;
}

/** Has a client knock at a gate, each time from another address, while a stranger sends junk. */
export async function measureKnocks({ devices, knocks, rate }: KnockOptions): Promise<KnockMeasurement> {
  await using network = await createNetwork({
    hosts: {
      server: { ipv4: `${serverAddress}/8` },
      client: { ipv4: "10.9.1.1/8" },
      stranger: { ipv4: "10.9.9.9/8" },
    },
  });
  const directory = mkdtempSync(join(tmpdir(), "postern-bench-"));
  try {
    const server = network.host("server");
    const gate = node(server, "./gate-program.ts", directory);
    await gate.until(/ready/);
    await node(server, "./server-program.ts", String(devices), directory).until(/ready/);
    await node(server, "./echo-program.ts").until(/ready/);
    const client = network.host("client");
    const addresses = Array.from(
      { length: Math.min(knocks, knocksMax) },
      (_, index) => `10.8.${index >> 8}.${index & 255}`,
    );
    const added = addresses.map((address) => `address add ${address}/8 dev eth0\n`).join("");
    await client.run("ip", ["-batch", "-"], { input: added });
    if (rate > 0) {
      const flood = floodArguments({ to: serverAddress, port: knockPort, rate, seconds: 3_600 });
      network.host("stranger").start("nice", [...leastPriority, process.execPath, ...flood]);
    }
    // A flood takes a moment to be one.
    await delay(2_000);
    gate.child.kill("SIGUSR2");
    const processors = watchProcessors();
    const begin = performance.now();
    const { code, stdout, stderr } = await node(client, "./knocker-program.ts", serverAddress, ...addresses)
      .ended;
    if (code !== 0) throw new Error(stderr);
    const seconds = (performance.now() - begin) / 1_000;
    gate.child.kill("SIGTERM");
    const report: GateReport = JSON.parse((await gate.ended).stdout.trim().split("\n").at(-1) ?? "");
    const lines = stdout.trim().split("\n");
    return {
      knocks: lines.map((line): Knock => JSON.parse(line)),
      gate: report,
      seconds,
      machine: processors.text(),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Prints each stage: what of the whole is the gate's, and what the machine takes for less. */
export function printKnocks(rate: number, { knocks, gate, seconds, machine }: KnockMeasurement): void {
  const traceOf = new Map(gate.traces.map((trace) => [trace.device, trace]));
  const both = knocks.flatMap((knock) => {
    const trace = traceOf.get(knock.device);
    return trace === undefined ? [] : [{ ...knock, ...trace }];
  });
  // All programs have just begun, and run code for the first time that is compiled then.
  const [first, ...warm] = both;
  const stage = (name: string, ms: (knock: (typeof both)[number]) => number): void =>
    figure(name, distribution(warm.map(ms)));
  const lost = knocks.filter(({ connectedMs }) => connectedMs === null).length;
  const arrived = gate.judged + gate.dropped;
  figure(
    `\n${rate} junk packets a second asked for`,
    `${Math.round(arrived / (seconds + 2))} came; ${machine}`,
  );
  stage("knock to open port", ({ sentMs, openedMs }) => openedMs - sentMs);
  stage("  sent to received by the gate", ({ sentMs, receivedMs }) => receivedMs - sentMs);
  stage("  device found, packet verified", ({ receivedMs, verifiedMs }) => verifiedMs - receivedMs);
  stage("  counter kept", ({ verifiedMs, heldMs }) => heldMs - verifiedMs);
  stage("  server knows (told before the counter is kept)", ({ verifiedMs, toldMs }) => toldMs - verifiedMs);
  stage("  kernel opens", ({ heldMs, toldMs, openedMs }) => openedMs - Math.max(heldMs, toldMs));
  const connected = knocks.flatMap(({ sentMs, connectedMs }) =>
    connectedMs === null ? [] : [connectedMs - sentMs],
  );
  figure("knock to connection, one tried each ms", `${distribution(connected)}, ${lost} lost`);
  if (first !== undefined)
    figure("the first knock of all, to open port", `${(first.openedMs - first.sentMs).toFixed(2)} ms`);
  figure("the machine: a datagram there and back", distribution(knocks.map(({ echoMs }) => echoMs)));
  figure("the machine: a timer is late by", distribution(knocks.map(({ timerMs }) => timerMs)));
  figure(
    "the gate's process",
    `${Math.round(gate.processorMs / seconds / 10)} % of a processor, loop late by p99 ${gate.loopMs.p99.toFixed(1)} ms, most ${gate.loopMs.most.toFixed(1)} ms, longest garbage collection ${gate.collectedMsMax.toFixed(1)} ms`,
  );
  figure(
    "junk",
    `${gate.judged} judged, ${gate.dropped} dropped in the kernel, ${gate.bans} sources locked out`,
  );
}

function node(host: Host, file: string, ...args: readonly string[]): ReturnType<Host["start"]> {
  const program = fileURLToPath(new URL(file, import.meta.url));
  return host.start("chrt", [...underMeasurement, process.execPath, program, ...args]);
}
