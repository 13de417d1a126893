import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { hasCertificate, parseBundle } from "@postern/core/bundle";
import { defaultPermissions } from "@postern/identity/permissions/default-file";

import { cpuNanoseconds } from "../load/process-figures.ts";
import { targetOn, type Certificates, type Needs, type Peer, type Ports, type Transport } from "./peer.ts";
import { ServerProcess } from "./server-process.ts";

const ownCheckout = fileURLToPath(new URL("../../../../", import.meta.url));

/**
 * The default secure configuration, with what the load needs beside it: plain listeners on loopback whose clients have a role, and
 * room for thousands of sessions of the one device that all TLS clients are. Metrics, audit log and permissions are on.
 */
const configuration = `listeners:
  - url: mqtts://127.0.0.1:0
  - url: wss://127.0.0.1:0
  - url: mqtt://127.0.0.1:0
    anonymous: true
  - url: ws://127.0.0.1:0
    anonymous: true
  - url: mqtts://127.0.0.1:0
    name: resumption
    tls:
      sessionResumption: tickets
metrics:
  url: http://127.0.0.1:0
`;

const permissions = `${defaultPermissions}
  anonymous:
    rules:
      - topics: ["#"]
        allow: [publish, subscribe, will, retain, shared, persistentSession]
`;

export interface PosternOptions {
  readonly directory: string;
  readonly name?: string;
  /** Another copy of this repository, with its dependencies installed. */
  readonly checkout?: string;
  /** More rules of the role that clients of the plain listeners have, in YAML. */
  readonly rules?: string;
  /** Lines beneath \`limits:\`. */
  readonly limits?: readonly string[];
  /** More lines of the configuration. */
  readonly more?: readonly string[];
  readonly nodeOptions?: readonly string[];
}

/** The program in a copy of this repository. */
export function posternIn(checkout: string): string {
  return join(checkout, "packages/cli/bin/postern.js");
}

/** `postern up` as anybody would run it. */
export class Postern implements Peer {
  readonly name: string;
  readonly version: string;
  /** Nanoseconds of processor time that it took to start. */
  readonly startNanoseconds: number;
  readonly certificates: Certificates;
  readonly data: string;
  readonly #process: ServerProcess;
  readonly #ports: Ports;
  /** TLS sessions are taken up there; by default they are not. */
  readonly #resumptionPort: number;

  private constructor(parts: {
    readonly name: string;
    readonly version: string;
    readonly data: string;
    readonly certificates: Certificates;
    readonly process: ServerProcess;
    readonly ports: Ports;
    readonly resumptionPort: number;
  }) {
    this.name = parts.name;
    this.version = parts.version;
    this.startNanoseconds = cpuNanoseconds(parts.process.pids);
    this.data = parts.data;
    this.certificates = parts.certificates;
    this.#process = parts.process;
    this.#ports = parts.ports;
    this.#resumptionPort = parts.resumptionPort;
  }

  static async start(options: PosternOptions): Promise<Postern> {
    const {
      directory,
      name = "postern",
      checkout = ownCheckout,
      limits = [],
      more = [],
      rules = "",
      nodeOptions = [],
    } = options;
    const data = join(directory, "data");
    mkdirSync(data, { recursive: true, mode: 0o700 });
    writeFileSync(join(data, "permissions.yaml"), permissions + rules);
    const config = join(directory, "postern.yaml");
    const allLimits = ["sessionsPerIdentityMax: 100000", ...limits].map((line) => `  ${line}\n`).join("");
    writeFileSync(config, `${configuration}${more.join("\n")}\nlimits:\n${allLimits}`);
    const server = new ServerProcess(
      process.execPath,
      [...nodeOptions, posternIn(checkout), "up", "--data", data, "--config", config],
      { cwd: directory },
    );
    const [said] = await server.says(/[^]*authority +SHA-256 [0-9A-F:]+\n/);
    const portOf = (scheme: string, which = 0): number =>
      Number([...said.matchAll(new RegExp(` ${scheme}://127\\.0\\.0\\.1:(\\d+)`, "g"))][which]?.[1] ?? 0);
    const ports: Readonly<Record<Transport, number>> = {
      tcp: portOf("mqtt"),
      tls: portOf("mqtts"),
      ws: portOf("ws"),
      wss: portOf("wss"),
    };
    return new Postern({
      name,
      version: /Postern (\S+)/.exec(said)?.[1] ?? "",
      data,
      certificates: certificatesOf(directory, data),
      process: server,
      ports,
      resumptionPort: portOf("mqtts", 1),
    });
  }

  get pids(): readonly number[] {
    return this.#process.pids;
  }

  targetFor(needs: Needs) {
    const ports = needs.resumption ? { ...this.#ports, tls: this.#resumptionPort } : this.#ports;
    return targetOn(ports, needs, this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

function certificatesOf(directory: string, data: string): Certificates {
  const path = join(data, "bundles", "first-device.json");
  const bundle = parseBundle(readFileSync(path, "utf8"), path);
  if (!hasCertificate(bundle)) throw new Error(`${path} holds no certificate with its key`);
  const clientCertificate = join(directory, "client.crt");
  const clientKey = join(directory, "client.key");
  writeFileSync(clientCertificate, bundle.certificate);
  writeFileSync(clientKey, bundle.key, { mode: 0o600 });
  const pki = join(data, "pki");
  return {
    server: join(pki, "server.pem"),
    ca: join(pki, "root.crt"),
    clientCertificate,
    clientKey,
  };
}
