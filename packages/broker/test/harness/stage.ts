import type { SessionStore } from "@postern/core/session-store";
import type { ConnectPacket, ProtocolVersion } from "@postern/mqtt/packets";

import type { Broker } from "../../src/broker.ts";
import type { Limits } from "../../src/limits.ts";
import type { BrokerPorts } from "../../src/ports.ts";
import { connectPacket, durableConnect, HandClient } from "../../src/testing/hand-client.ts";
import { openBroker } from "../../src/testing/open-broker.ts";
import { ShiftedClock } from "../../src/testing/shifted-clock.ts";
import type { Address } from "../../src/testing/wire-client.ts";

/** Resolves in a later turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}

/** A broker that is being tested, with the clients of one test; what is left of them ends with the test. */
export class Stage<Store extends SessionStore> implements AsyncDisposable {
  readonly store: Store;
  readonly clock = new ShiftedClock();
  readonly broker: Broker;
  readonly address: Address;
  readonly #beforeClose: (store: Store) => void;
  readonly #clients: HandClient[] = [];

  private constructor(
    parts: Pick<Stage<Store>, "store" | "clock" | "broker" | "address">,
    beforeClose: (store: Store) => void,
  ) {
    this.store = parts.store;
    this.clock = parts.clock;
    this.broker = parts.broker;
    this.address = parts.address;
    this.#beforeClose = beforeClose;
  }

  /** @param options.beforeClose Called when the test is over, whatever became of it. */
  static async open<Store extends SessionStore>(
    store: Store,
    options: {
      readonly limits?: Partial<Limits>;
      readonly ports?: Partial<BrokerPorts>;
      readonly beforeClose?: (store: Store) => void;
    } = {},
  ): Promise<Stage<Store>> {
    const { limits = {}, ports = {}, beforeClose = () => {} } = options;
    const clock = new ShiftedClock();
    const opened = openBroker({ store, limits, ports: { clock, ...ports } });
    const { port } = await opened.listen();
    const address = { host: "127.0.0.1", port };
    return new Stage({ store, clock, broker: opened.broker, address }, beforeClose);
  }

  /** A connected client whose session ends with its connection. */
  async client(name: string, version: ProtocolVersion, given?: Partial<ConnectPacket>): Promise<HandClient> {
    return this.#keep(await HandClient.connected(this.address, connectPacket(name, version, given)));
  }

  /** A connected client whose session is kept. */
  async durable(name: string, version: ProtocolVersion, given?: Partial<ConnectPacket>): Promise<HandClient> {
    return this.#keep(await HandClient.connected(this.address, durableConnect(name, version, given)));
  }

  /** A connection on which nothing was sent yet. */
  stranger(version: ProtocolVersion): HandClient {
    return this.#keep(new HandClient(this.address, version));
  }

  /** Cuts the client off; when this is done the broker knows. */
  async cut(client: HandClient): Promise<void> {
    const { connections } = this.broker.snapshot();
    await client[Symbol.asyncDispose]();
    while (this.broker.snapshot().connections >= connections) await nextTurn();
  }

  /** Resolves when sockets have taken all that is meant for them: one of another thread is known to have some time after it has. */
  async flushed(): Promise<void> {
    while (this.broker.snapshot().outboundBytes > 0) await nextTurn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#beforeClose(this.store);
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
    await this.broker.close();
  }

  #keep(client: HandClient): HandClient {
    this.#clients.push(client);
    return client;
  }
}
