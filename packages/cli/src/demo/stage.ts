import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import {
  createNetwork,
  type Host,
  type HostProcess,
  type Network,
  type NetworkPlan,
} from "@postern/gate/hosts/hosts";
import type { Ended } from "@postern/gate/hosts/ip-command";
import { stringify } from "yaml";

import { DemoError } from "../errors.ts";

/** The hosts of the thesis (3.8.1), in both families, and one that is not registered. */
const demoHosts = {
  server: { ipv4: "192.168.1.126/24", ipv6: "fd01::126/64" },
  "client-1": { ipv4: "192.168.1.6/24", ipv6: "fd01::6/64" },
  "client-2": { ipv4: "192.168.1.7/24", ipv6: "fd01::7/64" },
  stranger: { ipv4: "192.168.1.66/24", ipv6: "fd01::66/64" },
} as const;

export const servicePort = 8883;
export const knockPort = 62_201;

export interface StageOptions {
  /** The program that is shown: the runtime and the script. */
  readonly program: readonly string[];
  /** What stands in `gate:` of the configuration. */
  readonly gate?: object;
  readonly network?: NetworkPlan;
  /** Devices, each with its roles. */
  readonly devices: Readonly<Record<string, readonly string[]>>;
  /** More of the environment of our program. */
  readonly env?: Readonly<Record<string, string>>;
  /** The server's address in bundles; its IPv4 address unless given. */
  readonly address?: string;
}

/** A hidden server and its devices on hosts of their own. */
export interface Stage extends AsyncDisposable {
  readonly network: Network;
  readonly data: string;
  readonly server: HostProcess;
  host(name: string): Host;
  /** The bundle of a device. */
  bundle(device: string): string;
  /** Runs our program on a host to its end. */
  run(host: string, args: readonly string[], input?: string): Promise<Ended>;
  /** Starts our program on a host. */
  start(host: string, args: readonly string[]): HostProcess;
}

/** Builds the hosts and starts the server with its gate. Rejects with `HostsError` where hosts are not allowed, and `DemoError` when the server does not start. */
export async function setStage(options: StageOptions): Promise<Stage> {
  const { program, gate = {}, network: plan = { hosts: demoHosts }, devices } = options;
  const [command = "", ...script] = program;
  await using stack = new AsyncDisposableStack();
  const network = stack.use(await createNetwork(plan));
  const directory = mkdtempSync(join(tmpdir(), "postern-demo-"));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const data = join(directory, "data");
  const serverHost = network.host("server");
  mkdirSync(data, { mode: 0o700 });
  writeFileSync(join(data, "postern.yaml"), configuration(options.address ?? serverHost.ipv4, gate));

  // One process has compiled what the next needs.
  const env = { NODE_COMPILE_CACHE: join(directory, "compiled"), NO_COLOR: "1", ...options.env };
  const start: Stage["start"] = (host, args) =>
    network.host(host).start(command, [...script, ...args], { env });
  const run: Stage["run"] = async (host, args, input) =>
    network.host(host).run(command, [...script, ...args], { env, ...(input === undefined ? {} : { input }) });

  const server = start("server", ["up", "--data", data]);
  stack.defer(() => stop(server));
  await started(server);
  const bundle = (device: string): string => join(data, "bundles", `${device}.json`);
  await Promise.all(
    Object.entries(devices).map(async ([device, roles]) => {
      const chosen = roles.flatMap((role) => ["--role", role]);
      const added = await run("server", ["device", "add", device, "--data", data, ...chosen]);
      if (added.code !== 0)
        throw new DemoError(`The device ${device} cannot be added: ${added.stderr.trim()}`);
    }),
  );
  const disposal = stack.move();
  return {
    network,
    data,
    server,
    host: (name) => network.host(name),
    bundle,
    run,
    start,
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}

function configuration(host: string, gate: object): string {
  const authority = host.includes(":") ? `[${host}]` : host;
  return stringify({
    listeners: [{ url: `mqtts://${authority}:${servicePort}` }],
    metrics: { url: "off" },
    gate,
  });
}

async function started(server: HostProcess): Promise<void> {
  try {
    await server.until(/is running\./);
  } catch (cause) {
    throw new DemoError(`The server does not start: ${server.stderr.trim() || server.stdout.trim()}`, {
      cause,
    });
  }
}

/** It takes its gate and its server process along. */
async function stop(server: HostProcess): Promise<void> {
  server.child.kill("SIGTERM");
  const patience = setTimeout(() => server.child.kill("SIGKILL"), 10_000);
  await server.ended;
  clearTimeout(patience);
}
