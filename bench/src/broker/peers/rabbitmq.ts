import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { unpacked } from "./debian-package.ts";
import { targetOn, type Certificates, type Needs, type Peer, type Ports } from "./peer.ts";
import { freePort, ServerProcess } from "./server-process.ts";

const packages = [
  "rabbitmq-server",
  ...["asn1", "base", "crypto", "eldap", "inets", "mnesia", "os-mon", "parsetools", "public-key"].map(erlang),
  ...["runtime-tools", "ssl", "syntax-tools", "tools", "xmerl"].map(erlang),
];

/** The script that starts it names the place where Debian would have installed it. */
function useErlangIn(root: string): void {
  const starter = join(root, "bin", "erl");
  writeFileSync(starter, readFileSync(starter, "utf8").replaceAll(/=\/usr\/lib\/erlang$/gm, `=${root}`));
}

function erlang(name: string): string {
  return `erlang-${name}`;
}

/** RabbitMQ with its MQTT plug-in, without authentication. 3.10 speaks MQTT 3.1.1 with QoS 0 and 1. */
export class RabbitMq implements Peer {
  readonly name = "rabbitmq";
  readonly version: string;
  readonly #certificates: Certificates;
  readonly #process: ServerProcess;
  /** Erlang's, which only tells where the server is. */
  readonly #nameServer: ServerProcess;
  readonly #ports: Ports;

  private constructor(
    version: string,
    certificates: Certificates,
    processes: { readonly server: ServerProcess; readonly nameServer: ServerProcess },
    ports: Ports,
  ) {
    this.version = version;
    this.#certificates = certificates;
    this.#process = processes.server;
    this.#nameServer = processes.nameServer;
    this.#ports = ports;
  }

  /** What is installed, otherwise Debian's packages. @throws when those cannot be had. */
  static async start(directory: string, certificates: Certificates): Promise<RabbitMq> {
    const isInstalled = ["usr/lib/rabbitmq/lib", "usr/lib/erlang/bin/erl"].every((path) =>
      existsSync(join("/", path)),
    );
    const root = isInstalled ? "/" : await unpacked("rabbitmq", packages);
    const erlangRoot = join(root, "usr", "lib", "erlang");
    if (!isInstalled) useErlangIn(erlangRoot);
    const [home = ""] = globSync(join(root, "usr/lib/rabbitmq/lib/rabbitmq_server-*"));
    const ports = { tcp: await freePort(), tls: 0, ws: 0, wss: 0 };
    const distribution = await freePort();
    writeFileSync(
      join(directory, "rabbitmq.conf"),
      `listeners.tcp.1 = 127.0.0.1:${await freePort()}
mqtt.listeners.tcp.1 = 127.0.0.1:${ports.tcp}
mqtt.allow_anonymous = true
`,
    );
    writeFileSync(join(directory, "enabled_plugins"), "[rabbitmq_mqtt].\n");
    const namePort = await freePort();
    const nameServer = new ServerProcess(join(erlangRoot, "bin", "epmd"), [
      "-address",
      "127.0.0.1",
      "-port",
      String(namePort),
    ]);
    const server = new ServerProcess(join(home, "sbin", "rabbitmq-server"), [], {
      cwd: directory,
      env: {
        HOME: directory,
        PATH: `${join(erlangRoot, "bin")}:${process.env["PATH"] ?? ""}`,
        RABBITMQ_NODENAME: "bench@localhost",
        RABBITMQ_CONFIG_FILE: join(directory, "rabbitmq"),
        RABBITMQ_MNESIA_BASE: join(directory, "mnesia"),
        RABBITMQ_LOG_BASE: join(directory, "log"),
        RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, "enabled_plugins"),
        RABBITMQ_DIST_PORT: String(distribution),
        ERL_EPMD_ADDRESS: "127.0.0.1",
        ERL_EPMD_PORT: String(namePort),
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
      },
    });
    try {
      await server.listensOn(ports.tcp);
    } catch (error) {
      await nameServer[Symbol.asyncDispose]();
      throw error;
    }
    const version = /server-(\S+)$/.exec(home)?.[1] ?? "";
    return new RabbitMq(version, certificates, { server, nameServer }, ports);
  }

  get pids(): readonly number[] {
    return this.#process.pids;
  }

  targetFor(needs: Needs) {
    if (needs.version !== 4 || needs.qos === 2 || needs.shared) return undefined;
    return targetOn(this.#ports, needs, { certificates: this.#certificates, pids: this.pids });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
    await this.#nameServer[Symbol.asyncDispose]();
  }
}
