import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { createNetwork, type Host, type HostProcess } from "@postern/gate/hosts/hosts";
import type { KnockTrace } from "@postern/gate/knock-trace";
import { floodArguments } from "@postern/gate/testing/flood";
import { temporaryDirectory } from "@postern/gate/testing/test-gate";

import { watchProcessors } from "../support/processor-time.ts";
import { distribution, figure } from "../support/report.ts";
import { knockPort } from "./ports.ts";

export const serverAddress = "10.9.0.1";
/** Of the real-time class: what else runs here waits for it. The flood comes after what is measured. */
const priorities = { measured: "5", flood: "1" } as const;
/** A container may withhold it (CAP_SYS_NICE). */
export const isRealTime = spawnSync("chrt", ["--rr", priorities.measured, "true"]).status === 0;
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

/** What is knocked at, on a host of its own. */
export interface Door {
  /** The packet that opens it from that address; our own when it is not there. */
  readonly packet?: (address: string) => Buffer;
  /** Starts it; what it returns is called when the measuring begins and when it is over. */
  start(host: Host): Promise<{ begin(): void; end(): Promise<void> }>;
}

export interface KnockOptions {
  readonly knocks: number;
  /** Junk packets a second. */
  readonly rate: number;
  /** How long the flood goes on before the first knock. */
  readonly floodedMs?: number;
}

export interface KnockMeasurement {
  readonly knocks: readonly Knock[];
  readonly seconds: number;
  readonly machine: string;
}

/** Has a client knock at a door, each time from another address, while a stranger sends junk. */
export async function knockAt(
  door: Door,
  directory: string,
  { knocks, rate, floodedMs = 2_000 }: KnockOptions,
): Promise<KnockMeasurement> {
  await using network = await createNetwork({
    hosts: {
      server: { ipv4: `${serverAddress}/8` },
      client: { ipv4: "10.9.1.1/8" },
      stranger: { ipv4: "10.9.9.9/8" },
    },
  });
  const server = network.host("server");
  const running = await door.start(server);
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
    startAt("flood", network.host("stranger"), [process.execPath, ...flood]);
  }
  const packets = writePackets(door, directory, addresses);
  // A flood takes a moment to be one.
  await delay(floodedMs);
  running.begin();
  const processors = watchProcessors();
  const beginMs = performance.now();
  const { code, stdout, stderr } = await node(
    client,
    "./knocker-program.ts",
    serverAddress,
    packets,
    ...addresses,
  ).ended;
  const seconds = (performance.now() - beginMs) / 1_000;
  const machine = processors.text();
  await running.end();
  if (code !== 0) throw new Error(stderr);
  const lines = stdout.trim().split("\n");
  return { knocks: lines.map((line): Knock => JSON.parse(line)), seconds, machine };
}

function writePackets({ packet }: Door, directory: string, addresses: readonly string[]): string {
  if (packet === undefined) return "-";
  const file = join(directory, "packets.json");
  const packets = addresses.map((address) => [address, packet(address).toString("base64")]);
  writeFileSync(file, JSON.stringify(Object.fromEntries(packets)));
  return file;
}

/** Knocks at our gate, which tells when each came to which stage. */
export async function measureGate(
  devices: number,
  options: KnockOptions,
): Promise<KnockMeasurement & { readonly gate: GateReport }> {
  using directory = temporaryDirectory();
  const { path } = directory;
  let report: GateReport | undefined;
  const door: Door = {
    async start(host) {
      const gate = node(host, "./gate-program.ts", path);
      await gate.until(/ready/);
      await node(host, "./server-program.ts", String(devices), path).until(/ready/);
      return {
        begin: () => gate.child.kill("SIGUSR2"),
        async end() {
          gate.child.kill("SIGTERM");
          report = JSON.parse((await gate.ended).stdout.trim().split("\n").at(-1) ?? "");
        },
      };
    },
  };
  const measured = await knockAt(door, path, options);
  if (report === undefined) throw new Error("the gate said nothing");
  return { ...measured, gate: report };
}

/** The milliseconds from each knock to a connection, and how many led to none. */
export function connections(knocks: readonly Knock[]): {
  readonly ms: readonly number[];
  readonly lost: number;
} {
  const ms = knocks.flatMap(({ sentMs, connectedMs }) =>
    connectedMs === null ? [] : [connectedMs - sentMs],
  );
  return { ms, lost: knocks.length - ms.length };
}

/** Prints each stage: what of the whole is the gate's, and what the machine takes for less. */
export function printKnocks(
  rate: number,
  { knocks, gate, seconds, machine }: Awaited<ReturnType<typeof measureGate>>,
): void {
  const traceOf = new Map(gate.traces.map((trace) => [trace.device, trace]));
  const both = knocks.flatMap((knock) => {
    const trace = traceOf.get(knock.device);
    return trace === undefined ? [] : [{ ...knock, ...trace }];
  });
  // All programs have just begun, and run code for the first time that is compiled then.
  const [first, ...warm] = both;
  const stage = (name: string, ms: (knock: (typeof both)[number]) => number): void =>
    figure(name, distribution(warm.map(ms)));
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
  const { ms, lost } = connections(knocks);
  figure("knock to connection, one tried each ms", `${distribution(ms)}, ${lost} lost`);
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

/** Starts a program of this folder that is measured. */
export function node(host: Host, file: string, ...args: readonly string[]): HostProcess {
  const program = fileURLToPath(new URL(file, import.meta.url));
  return startAt("measured", host, [process.execPath, program, ...args]);
}

export function startAt(
  priority: keyof typeof priorities,
  host: Host,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): HostProcess {
  const [file = "", ...args] = isRealTime ? ["chrt", "--rr", priorities[priority], ...command] : command;
  return host.start(file, args, { env });
}
