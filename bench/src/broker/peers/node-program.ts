import { fileURLToPath } from "node:url";

import { z } from "zod";

import type { Target } from "../load/job.ts";
import { targetOn, type Certificates, type Needs, type Peer } from "./peer.ts";
import { ServerProcess } from "./server-process.ts";

const ready = z.strictObject({
  version: z.string(),
  tcp: z.number(),
  tls: z.number(),
  ws: z.number(),
  wss: z.number(),
});

/** A program of ours around something else: Aedes, the relay. It says on which ports it listens. */
export class NodeProgram implements Peer {
  readonly name: string;
  readonly version: string;
  readonly #speaks: Target["speaks"];
  readonly #takes: (needs: Needs) => boolean;
  readonly #certificates: Certificates;
  readonly #process: ServerProcess;
  readonly #ports: z.infer<typeof ready>;

  private constructor(
    options: NodeProgramOptions,
    certificates: Certificates,
    server: ServerProcess,
    ports: z.infer<typeof ready>,
  ) {
    this.name = options.name;
    this.version = ports.version;
    this.#speaks = options.speaks;
    this.#takes = options.takes;
    this.#certificates = certificates;
    this.#process = server;
    this.#ports = ports;
  }

  static async start(options: NodeProgramOptions, certificates: Certificates): Promise<NodeProgram> {
    const program = fileURLToPath(new URL(`../${options.program}`, import.meta.url));
    const server = new ServerProcess(process.execPath, [program, certificates.server, certificates.ca]);
    const [, json = ""] = await server.says(/^ready (.*)$/m);
    return new NodeProgram(options, certificates, server, ready.parse(JSON.parse(json)));
  }

  get pids(): readonly number[] {
    return this.#process.pids;
  }

  targetFor(needs: Needs): Target | undefined {
    if (!this.#takes(needs)) return undefined;
    return targetOn(this.#ports, needs, {
      certificates: this.#certificates,
      pids: this.pids,
      speaks: this.#speaks,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

interface NodeProgramOptions {
  readonly name: string;
  readonly program: string;
  readonly speaks: Target["speaks"];
  readonly takes: (needs: Needs) => boolean;
}

export const aedes: NodeProgramOptions = {
  name: "aedes",
  program: "aedes-program.ts",
  speaks: "mqtt",
  takes: ({ version, shared }) => version === 4 && !shared,
};

export const relay: NodeProgramOptions = {
  name: "relay",
  program: "relay-program.ts",
  speaks: "relay",
  takes: ({ qos, version, shared }) => qos === 0 && version === 4 && !shared,
};
