import { createServer } from "node:net";

import {
  type ListenerHost,
  type ListenerOptions,
  type RunningListener,
  startListener,
} from "../listeners/listener.ts";
import type { Transport } from "../transport.ts";
import { Carrier, type CarrierHost } from "./carrier.ts";
import { RemoteConnection } from "./remote-connection.ts";
import { turns } from "./turns.ts";

/** Whether other threads can carry the connections of a listener: what they would have to ask for in the middle of a handshake stays here. */
function canBeCarried({ kind, psk, resumption }: ListenerOptions): boolean {
  return kind !== "unix" && psk === undefined && resumption?.ids !== true;
}

/**
 * Threads that carry connections beside the first one, which decides everything: sessions, permissions, limits and the store are
 * there and nowhere else. All of them listen on the same ports, and the kernel spreads connections over them.
 */
export class Carriers {
  readonly #carriers: readonly Carrier[];
  readonly #host: ListenerHost;
  #lastListener = 0;

  /** @param count How many threads there are beside this one. */
  constructor(count: number, host: ListenerHost, carrierHost: CarrierHost) {
    this.#host = host;
    this.#carriers = Array.from({ length: count }, () => new Carrier(carrierHost));
  }

  /** As `startListener`, in all threads that can have it. */
  async listen(options: ListenerOptions): Promise<RunningListener> {
    if (!canBeCarried(options)) return startListener(options, this.#host);
    this.#lastListener += 1;
    const listener = this.#lastListener;
    await probe(options);
    const own = await startListener({ ...options, shared: true }, this.#host);
    try {
      await this.#listenBeside(own, listener, options);
    } catch (thrown) {
      void own.close();
      throw thrown;
    }
    const carriers = this.#carriers;
    return {
      name: own.name,
      url: own.url,
      port: own.port,
      get connectionCount() {
        let count = own.connectionCount;
        for (const carrier of carriers) count += carrier.connectionCountOf(listener);
        return count;
      },
      reloadTls: () => {
        own.reloadTls();
        const material = options.tls?.();
        if (material === undefined) return;
        for (const carrier of carriers) carrier.reloadTls(listener, material);
      },
      // The keys are the same everywhere, and follow those of this thread.
      dropTickets: () => own.dropTickets(),
      async close() {
        await Promise.all([own.close(), ...carriers.map((carrier) => carrier.closeListener(listener))]);
      },
      cut() {
        own.cut();
        for (const carrier of carriers) carrier.cutListener(listener);
      },
    };
  }

  /** Resolves when all that has come for the transport by now was handed over, whichever thread it is in. */
  async heardAll(transport: Transport): Promise<void> {
    if (transport instanceof RemoteConnection) await transport.heardAll();
    else await turns();
  }

  async close(): Promise<void> {
    await Promise.all(this.#carriers.map((carrier) => carrier.close()));
  }

  async #listenBeside({ port }: RunningListener, listener: number, options: ListenerOptions): Promise<void> {
    const { resumption } = options;
    const sessions = resumption === undefined ? undefined : this.#host.sessionsFor(resumption);
    await Promise.all(
      this.#carriers.map((carrier) =>
        carrier.listen(listener, { ...options, port, shared: true }, sessions?.ticketKeys),
      ),
    );
    sessions?.onChange(() => {
      for (const carrier of this.#carriers) carrier.useTicketKeys(sessions.resumption, sessions.ticketKeys);
    });
  }
}

/** Threads share a port, and so could another program of the same user, unseen: whoever is there already is found out before. */
async function probe({ host, port }: ListenerOptions): Promise<void> {
  if (port === 0) return;
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, resolve);
  });
  await new Promise((resolve) => server.close(resolve));
}
