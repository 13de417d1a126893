import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { errorText } from "@postern/core/errors";

import { Mosquitto } from "./mosquitto.ts";
import { Nats } from "./nats.ts";
import { aedes, NodeProgram, relay } from "./node-program.ts";
import { Outside, type OutsideBroker } from "./outside.ts";
import type { Certificates, Peer } from "./peer.ts";
import { Postern } from "./postern.ts";
import { RabbitMq } from "./rabbitmq.ts";

export interface PeerOptions {
  /** Of the run, gone after it. */
  readonly directory: string;
  readonly wanted: (name: string) => boolean;
  readonly outside: readonly OutsideBroker[];
  /** Another copy of this repository, measured as `against`. */
  readonly against: string | undefined;
  /** Of the runtime that runs postern. */
  readonly nodeOptions: readonly string[];
}

type Start = (directory: string, certificates: Certificates) => Promise<Peer>;

/** What can be compared, in the order of the report. */
const brokers: Readonly<Record<string, Start>> = {
  mosquitto: (directory, certificates) => Mosquitto.start(directory, certificates),
  nats: (directory, certificates) => Nats.start(directory, certificates),
  rabbitmq: (directory, certificates) => RabbitMq.start(directory, certificates),
  aedes: (_directory, certificates) => NodeProgram.start(aedes, certificates),
  relay: (_directory, certificates) => NodeProgram.start(relay, certificates),
};

export const peerNames: readonly string[] = Object.keys(brokers);

/** Ready to be measured, in the order of the report. */
export class Peers implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #options: PeerOptions;
  readonly #certificates: Certificates;
  readonly all: Peer[] = [];
  #started = 0;

  private constructor(options: PeerOptions, postern: Postern) {
    this.#options = options;
    this.#certificates = postern.certificates;
    this.#add(postern);
  }

  /** Starts all that are wanted and there; says of each other, in one sentence, why it is left out. */
  static async start(options: PeerOptions): Promise<Peers> {
    const { wanted, outside, against } = options;
    const postern = await Postern.start({
      directory: emptyDirectory(options.directory, "postern"),
      nodeOptions: options.nodeOptions,
    });
    const peers = new Peers(options, postern);
    try {
      if (against !== undefined) peers.#add(await peers.startAnew("against"));
      for (const name of peerNames.filter(wanted)) {
        try {
          peers.#add(await peers.startAnew(name));
        } catch (error) {
          console.error(`!! ${name} is left out: ${errorText(error).split("\n")[0]}`);
        }
      }
      for (const broker of outside) peers.#add(new Outside(broker, postern.certificates));
      return peers;
    } catch (error) {
      await peers[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Starts one more of the name; the caller ends it. */
  async startAnew(name: string): Promise<Peer> {
    this.#started += 1;
    const directory = emptyDirectory(this.#options.directory, `${name}-${this.#started}`);
    const { against, nodeOptions } = this.#options;
    if (name === "postern") return Postern.start({ directory, nodeOptions });
    if (name === "against" && against !== undefined)
      return Postern.start({ directory, name, checkout: against });
    const start = brokers[name];
    if (start === undefined) throw new Error(`${name} runs elsewhere and cannot be started anew`);
    return start(directory, this.#certificates);
  }

  #add<P extends Peer>(peer: P): P {
    this.all.push(peer);
    return this.#stack.use(peer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function emptyDirectory(parent: string, name: string): string {
  const directory = join(parent, name);
  mkdirSync(directory, { recursive: true });
  return directory;
}
