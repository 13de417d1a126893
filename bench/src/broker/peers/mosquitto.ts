import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

import { targetOn, type Certificates, type Needs, type Peer, type Ports } from "./peer.ts";
import { freePort, ServerProcess } from "./server-process.ts";

/** Debian puts it outside the path of ordinary users. */
const candidates = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin"];
const program = candidates.map((directory) => join(directory, "mosquitto")).find((path) => existsSync(path));

const missing: string | undefined =
  program === undefined ? "Mosquitto is not installed: apt-get install mosquitto" : undefined;

/**
 * Mosquitto without authentication and permissions, which is its fastest: what is on in Postern is off here. Its queue has no
 * bound, and more may be in flight than the 20 of its default, beyond which it drops messages or clients.
 */
export class Mosquitto implements Peer {
  readonly name = "mosquitto";
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

  static async start(directory: string, certificates: Certificates): Promise<Mosquitto> {
    if (program === undefined) throw new Error(missing);
    mkdirSync(directory, { recursive: true });
    const ports = { tcp: await freePort(), tls: await freePort(), ws: await freePort(), wss: 0 };
    const config = join(directory, "mosquitto.conf");
    writeFileSync(
      config,
      [
        ...(process.getuid?.() === 0 ? ["user root"] : []),
        "allow_anonymous true",
        "set_tcp_nodelay true",
        "max_queued_messages 0",
        "max_inflight_messages 1000",
        "persistence true",
        `persistence_location ${directory}/`,
        "log_dest none",
        `listener ${ports.tcp} 127.0.0.1`,
        `listener ${ports.tls} 127.0.0.1`,
        `cafile ${certificates.ca}`,
        `certfile ${certificates.server}`,
        `keyfile ${certificates.server}`,
        "require_certificate true",
        "tls_version tlsv1.3",
        `listener ${ports.ws} 127.0.0.1`,
        "protocol websockets",
        "",
      ].join("\n"),
    );
    const server = new ServerProcess(program, ["-c", config]);
    await server.listensOn(ports.tcp);
    return new Mosquitto(versionOf(program), certificates, server, ports);
  }

  get pids(): readonly number[] {
    return this.#process.pids;
  }

  targetFor(needs: Needs) {
    return targetOn(this.#ports, needs, { certificates: this.#certificates, pids: this.pids });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

/** It prints its version with its help, and ends with a code for that. */
function versionOf(path: string): string {
  const help = execFileSync("sh", ["-c", '"$0" -h || true', path], { encoding: "utf8" });
  return /version (\S+)/.exec(help)?.[1] ?? "";
}
