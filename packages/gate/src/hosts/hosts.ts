import { spawn, type ChildProcess } from "node:child_process";

import { HostsError } from "../errors.ts";
import { ended, ipBatch, type Ended } from "./ip-command.ts";
import { newPrefix } from "./names.ts";
import { hostsRefused, removeNamespaces, sweepLeftOvers } from "./namespaces.ts";
import { ProcessOutput } from "./process-output.ts";

/** Addresses with the length of their network's prefix, such as `192.168.1.126/24`. */
export type HostPlan = { readonly ipv4: string; readonly ipv6?: string };

/** Hosts behind one address: a router that translates. */
export type NatPlan = {
  /** The router's address outside. */
  readonly outside: HostPlan;
  /** The router's address inside, with the length of the prefix; the hosts' way out. */
  readonly inside: string;
  readonly hosts: Readonly<Record<string, HostPlan>>;
};

export type NetworkPlan = {
  readonly hosts: Readonly<Record<string, HostPlan>>;
  readonly nat?: NatPlan;
};

/** A program that runs on a host. */
export interface HostProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly stdout: string;
  readonly stderr: string;
  readonly ended: Promise<Ended>;
  /** Waits until what it wrote to either stream matches, for a minute. Rejects with `HostsError` when it ends before, or says nothing of the kind. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
}

export type RunOptions = {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What stands on standard input; nothing unless given. */
  readonly input?: string | Buffer;
};

/** A machine of its own as far as networks go: interfaces, routes, firewall, ports. Files and processes are this machine's. */
export interface Host {
  readonly name: string;
  /** Its name for `ip netns`. */
  readonly namespace: string;
  readonly ipv4: string;
  readonly ipv6: string | undefined;
  /** Runs a program to its end. */
  run(command: string, args: readonly string[], options?: RunOptions): Promise<Ended>;
  /** Starts a program. It ends with the network, and with this process however that ends. */
  start(command: string, args: readonly string[], options?: RunOptions): HostProcess;
}

/** Hosts on one switch. Disposing it ends all their programs and takes them away. */
export interface Network extends AsyncDisposable {
  /** Throws `RangeError` for a host that the plan does not name. */
  host(name: string): Host;
}

/** The only interface of a host beside loopback. */
export const hostInterface = "eth0";

/**
 * Makes hosts in network namespaces on a bridge in a namespace of its own, so that nothing of this machine's network is
 * touched. First takes away what killed processes have left. Rejects with `HostsError` where that is not allowed.
 */
export async function createNetwork(plan: NetworkPlan): Promise<Network> {
  const refused = await hostsRefused();
  if (refused !== undefined) throw new HostsError(`Hosts cannot be made: ${refused}.`);
  await sweepLeftOvers();
  const prefix = newPrefix();
  const namespaces: string[] = [];
  const processes = new Set<HostProcess>();
  const hosts = new Map<string, Host>();

  async function namespaceFor(name: string): Promise<string> {
    const namespace = `${prefix}-${name}`;
    namespaces.push(namespace);
    await ipBatch([`netns add ${namespace}`]);
    await ipBatch(["link set lo up"], namespace);
    return namespace;
  }

  async function addHost(name: string, host: HostPlan, at: string, gateway?: string): Promise<string> {
    const namespace = await namespaceFor(name);
    await plugIn({ namespace, name: hostInterface, host, at, port: `to-${hosts.size}` });
    if (gateway !== undefined) await ipBatch([`route add default via ${gateway}`], namespace);
    hosts.set(name, hostOn({ name, namespace, host, processes }));
    return namespace;
  }

  async function remove(): Promise<void> {
    await Promise.all([...processes].map((running) => running[Symbol.asyncDispose]()));
    await removeNamespaces(namespaces);
  }

  try {
    const outside = await switchIn(await namespaceFor("switch"));
    for (const [name, host] of Object.entries(plan.hosts)) await addHost(name, host, outside);
    if (plan.nat !== undefined) {
      const { nat } = plan;
      const inside = await switchIn(await namespaceFor("inside"));
      const router = await addHost("router", nat.outside, outside);
      await plugIn({
        namespace: router,
        name: "inside0",
        host: { ipv4: nat.inside },
        at: inside,
        port: "to-router",
      });
      await translate(router);
      for (const [name, host] of Object.entries(nat.hosts))
        await addHost(name, host, inside, withoutPrefix(nat.inside));
    }
  } catch (thrown) {
    await remove();
    throw thrown;
  }
  return {
    host(name) {
      const found = hosts.get(name);
      if (found === undefined) throw new RangeError(`no host ${name}: ${[...hosts.keys()].join(", ")}`);
      return found;
    },
    [Symbol.asyncDispose]: remove,
  };
}

/** Makes a bridge in a namespace, and returns that. */
async function switchIn(namespace: string): Promise<string> {
  await ipBatch(["link add name switch0 type bridge forward_delay 0", "link set switch0 up"], namespace);
  return namespace;
}

type Plug = {
  readonly namespace: string;
  readonly name: string;
  readonly host: HostPlan;
  /** The namespace of the switch. */
  readonly at: string;
  /** The name of the cable's end there. */
  readonly port: string;
};

async function plugIn({ namespace, name, host, at, port }: Plug): Promise<void> {
  await ipBatch(
    [
      `link add ${name} type veth peer name ${port} netns ${at}`,
      ...addresses(name, host),
      `link set ${name} up`,
    ],
    namespace,
  );
  await ipBatch([`link set ${port} master switch0`, `link set ${port} up`], at);
}

function addresses(name: string, { ipv4, ipv6 }: HostPlan): string[] {
  const first = `address add ${ipv4} dev ${name}`;
  return ipv6 === undefined ? [first] : [first, `address add ${ipv6} dev ${name} nodad`];
}

async function translate(router: string): Promise<void> {
  const commands = [
    "add table ip nat",
    "add chain ip nat out { type nat hook postrouting priority srcnat; }",
    `add rule ip nat out oifname ${hostInterface} masquerade`,
  ];
  await inNamespace(router, "nft", [commands.join("; ")]);
  await inNamespace(router, "sysctl", ["-q", "-w", "net.ipv4.ip_forward=1"]);
}

async function inNamespace(namespace: string, command: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await ended("ip", ["netns", "exec", namespace, command, ...args]);
  if (code !== 0) throw new HostsError(`${command} ${args.join(" ")} failed in a host: ${stderr.trim()}`);
}

function withoutPrefix(address: string): string {
  return address.split("/")[0] ?? address;
}

type HostParts = {
  readonly name: string;
  readonly namespace: string;
  readonly host: HostPlan;
  readonly processes: Set<HostProcess>;
};

function hostOn({ name, namespace, host, processes }: HostParts): Host {
  const start = (command: string, args: readonly string[], options?: RunOptions): HostProcess => {
    const running = startIn(namespace, [command, ...args], options);
    processes.add(running);
    void running.ended.then(() => processes.delete(running));
    return running;
  };
  return {
    name,
    namespace,
    ipv4: withoutPrefix(host.ipv4),
    ipv6: host.ipv6 === undefined ? undefined : withoutPrefix(host.ipv6),
    start,
    run: async (command, args, options) => start(command, args, options).ended,
  };
}

function startIn(namespace: string, command: readonly string[], options: RunOptions = {}): HostProcess {
  const { env = {}, cwd, input } = options;
  // The kernel ends it when this process ends, even by SIGKILL.
  const args = ["netns", "exec", namespace, "setpriv", "--pdeathsig", "KILL", "--", ...command];
  const child = spawn("ip", args, {
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  const output = new ProcessOutput(child, command[0] ?? "");
  child.stdin?.on("error", () => {});
  child.stdin?.end(input);
  const over = new Promise<Ended>((resolve) => {
    const end = (code: number | null): void =>
      resolve({ code, stdout: output.stdout, stderr: output.stderr });
    child.on("error", () => end(null));
    child.on("close", end);
  });
  return {
    child,
    get stdout() {
      return output.stdout;
    },
    get stderr() {
      return output.stderr;
    },
    ended: over,
    until: (pattern) => output.until(pattern),
    async [Symbol.asyncDispose]() {
      if (!output.isOver) child.kill("SIGKILL");
      await over;
    },
  };
}
