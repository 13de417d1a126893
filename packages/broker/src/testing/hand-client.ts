import assert from "node:assert/strict";

import { encodeConnect } from "@postern/mqtt/connect";
import { pingreqBytes } from "@postern/mqtt/control";
import {
  type ConnackPacket,
  type ConnectPacket,
  noProperties,
  type ProtocolVersion,
} from "@postern/mqtt/packets";

import { type Address, type Received, WireClient } from "./wire-client.ts";

/** Long enough for a busy machine; only a failing test waits for it. */
const patienceMs = 10_000;

type OfKind<K extends Received["kind"]> = Received & { readonly kind: K };

/** A client for a test to lead by the hand: it sends what it is told to and keeps what comes until it is asked for. */
export class HandClient implements AsyncDisposable {
  readonly wire: WireClient;
  /** What came and was not taken yet. */
  received: Received[] = [];
  /** What of it is kept. */
  keeps: (packet: Received) => boolean = () => true;
  unreadable: string | undefined;
  closed = false;
  #wake: () => void = () => {};

  constructor(address: Address, version: ProtocolVersion) {
    this.wire = new WireClient(address, version, {
      onReceived: (packet) => {
        if (this.keeps(packet)) this.received.push(packet);
        this.#wake();
      },
      onUnreadable: (reason, bytes) => {
        this.unreadable = `${reason}: ${bytes.subarray(0, 64).toString("hex")}`;
        this.#wake();
      },
      onClose: () => {
        this.closed = true;
        this.#wake();
      },
    });
  }

  /** Connects and waits for the server to accept. */
  static async connected(address: Address, packet: ConnectPacket): Promise<HandClient> {
    const client = new HandClient(address, packet.protocolVersion);
    const { reasonCode } = await client.connect(packet);
    assert.equal(reasonCode, 0, "CONNECT was refused");
    return client;
  }

  send(...packets: readonly Uint8Array[]): void {
    this.wire.send(packets.length === 1 ? (packets[0] ?? Buffer.alloc(0)) : Buffer.concat(packets));
  }

  async connect(packet: ConnectPacket): Promise<ConnackPacket> {
    this.send(encodeConnect(packet));
    return this.take("connack");
  }

  /** The first packet of this kind; what else came stays. */
  async take<K extends Received["kind"]>(kind: K): Promise<OfKind<K>> {
    const isIt = (packet: Received): packet is OfKind<K> => packet.kind === kind;
    await this.until(() => this.received.some(isIt), kind);
    const found = this.received.find(isIt);
    assert.ok(found !== undefined);
    this.received.splice(this.received.indexOf(found), 1);
    return found;
  }

  /** Waits for the answer to a PINGREQ: what the server sent before it has arrived then. */
  async ping(): Promise<void> {
    this.send(pingreqBytes);
    await this.take("pingresp");
  }

  /** Waits until `done`; fails when the connection ends before, or after ten seconds. */
  async until(done: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (!done()) {
      const kinds = this.received
        .slice(0, 20)
        .map(({ kind }) => kind)
        .join(", ");
      const state = `waiting for ${what}, with ${kinds === "" ? "nothing" : kinds} received`;
      assert.equal(this.unreadable, undefined, state);
      assert.ok(!this.closed, `the connection ended while ${state}`);
      const leftMs = deadline - performance.now();
      assert.ok(leftMs > 0, `gave up ${state}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, leftMs);
      await promise;
      clearTimeout(timer);
    }
  }

  /** Cuts the connection and waits until it is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.wire.destroy();
    await this.wire.closed;
  }
}

/** A CONNECT with what is left out: clean start, no session afterwards, keep alive of ten minutes. */
export function connectPacket(
  clientId: string,
  protocolVersion: ProtocolVersion,
  given: Partial<ConnectPacket> = {},
): ConnectPacket {
  return {
    protocolVersion,
    cleanStart: true,
    keepAliveSeconds: 600,
    clientId,
    username: undefined,
    password: undefined,
    will: undefined,
    properties: noProperties,
    ...given,
  };
}

/** A CONNECT that resumes the client's session and keeps it for an hour. */
export function durableConnect(
  clientId: string,
  protocolVersion: ProtocolVersion,
  given: Partial<ConnectPacket> = {},
): ConnectPacket {
  const properties = protocolVersion === 5 ? { sessionExpiryInterval: 3_600 } : noProperties;
  return connectPacket(clientId, protocolVersion, { cleanStart: false, properties, ...given });
}
