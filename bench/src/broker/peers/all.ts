import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { errorText } from "@postern/core/errors";

import { Mosquitto } from "./mosquitto.ts";
import { aedes, NodeProgram, relay } from "./node-program.ts";
import { Outside, type OutsideBroker } from "./outside.ts";
import type { Certificates, Peer } from "./peer.ts";
import { Postern } from "./postern.ts";

/** Ready to be measured, in the order of the report. */
export class Peers implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly all: Peer[] = [];

  /** Starts all that are wanted and there; says of each other, in one sentence, why it is left out. */
  static async start(options: {
    readonly directory: string;
    readonly wanted: (name: string) => boolean;
    readonly outside: readonly OutsideBroker[];
  }): Promise<Peers> {
    const { directory, wanted, outside } = options;
    const peers = new Peers();
    try {
      const posternDirectory = join(directory, "postern");
      mkdirSync(posternDirectory, { recursive: true });
      const postern = peers.#add(await Postern.start({ directory: posternDirectory }));
      const { certificates } = postern;
      const starts: Readonly<Record<string, (to: Certificates) => Promise<Peer>>> = {
        mosquitto: (to) => Mosquitto.start(join(directory, "mosquitto"), to),
        aedes: (to) => NodeProgram.start(aedes, to),
        relay: (to) => NodeProgram.start(relay, to),
      };
      for (const [name, start] of Object.entries(starts)) {
        if (!wanted(name)) continue;
        try {
          peers.#add(await start(certificates));
        } catch (error) {
          console.error(`!! ${name} is left out: ${errorText(error).split("\n")[0]}`);
        }
      }
      for (const broker of outside) peers.#add(new Outside(broker, certificates));
      return peers;
    } catch (error) {
      await peers[Symbol.asyncDispose]();
      throw error;
    }
  }

  #add<P extends Peer>(peer: P): P {
    this.all.push(peer);
    return this.#stack.use(peer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
