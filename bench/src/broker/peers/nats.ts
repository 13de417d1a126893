import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { unpacked } from "./debian-package.ts";
import { targetOn, type Certificates, type Needs, type Peer, type Ports } from "./peer.ts";
import { freePort, ServerProcess } from "./server-process.ts";

const installed = "/usr/sbin/nats-server";

/** The NATS server with its MQTT side, without authentication. 2.9 speaks MQTT 3.1.1 with QoS 0 and 1. */
export class Nats implements Peer {
  readonly name = "nats";
  readonly version: string;
  readonly #certificates: Certificates;
  readonly #process: ServerProcess;
  readonly #ports: Ports;

  private constructor(version: string, certificates: Certificates, server: ServerProcess, ports: Ports) {
    this.version = version;
    this.#certificates = certificates;
    this.#process = server;
    this.#ports = ports;
  }

  /** What is installed, otherwise Debian's package. @throws when that cannot be had. */
  static async start(directory: string, certificates: Certificates): Promise<Nats> {
    const program = existsSync(installed) ? installed : join(await unpacked("nats-server"), installed);
    const ports = { tcp: await freePort(), tls: 0, ws: await freePort(), wss: 0 };
    const config = join(directory, "nats.conf");
    writeFileSync(
      config,
      `server_name: bench
listen: "127.0.0.1:-1"
jetstream { store_dir: "${directory}" }
mqtt { host: "127.0.0.1", port: ${ports.tcp}, max_ack_pending: 65535 }
websocket { host: "127.0.0.1", port: ${ports.ws}, no_tls: true }
`,
    );
    const server = new ServerProcess(program, ["-c", config]);
    await server.listensOn(ports.tcp);
    const version = execFileSync(program, ["--version"], { encoding: "utf8" });
    return new Nats(/v(\d\S*)/.exec(version)?.[1] ?? "", certificates, server, ports);
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
  }
}
