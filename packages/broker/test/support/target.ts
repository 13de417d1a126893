import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before } from "node:test";

import type { BrokerPorts } from "../../src/ports.ts";
import type { ConnectOptions, Version } from "./packets.ts";
import { startInProcess, type InProcessBroker } from "./in-process.ts";
import { RawClient, type Address } from "./raw-client.ts";

/** The listeners of the broker under test. */
export interface Listeners {
  readonly plain: Address;
  /** A listener with small limits: packets of 2,048 bytes, Receive Maximum 3, Topic Alias Maximum 3, Keep Alive 2 s. */
  readonly limited?: Address | undefined;
  /** MQTT over WebSocket, without TLS. */
  readonly webSocket?: Address | undefined;
  /** A listener that lets nobody in without proof of identity. */
  readonly guarded?: Address | undefined;
}

/** A running broker to test instead of one of our own: `host:port`, and its other listeners where it has them. */
const running = {
  plain: process.env["POSTERN_CONFORMANCE_TARGET"],
  limited: process.env["POSTERN_CONFORMANCE_TARGET_LIMITED"],
  webSocket: process.env["POSTERN_CONFORMANCE_TARGET_WEBSOCKET"],
  guarded: process.env["POSTERN_CONFORMANCE_TARGET_GUARDED"],
  isOurs: process.env["POSTERN_CONFORMANCE_TARGET_IS_OURS"] === "1",
};

function addressOf(text: string): Address;
function addressOf(text: string | undefined): Address | undefined;
function addressOf(text: string | undefined): Address | undefined {
  if (text === undefined) return undefined;
  const { hostname, port } = new URL(`tcp://${text}`);
  return { host: hostname, port: Number(port) };
}

/** The broker a file of tests runs against, started before its first test and stopped after its last. */
export class Broker {
  #listeners: Listeners | undefined;

  /** False for a broker that is not ours: of it we ask what the specification demands, not what we promise beyond. */
  readonly isOurs: boolean;

  /** With `ports`, our own broker with these ports, whatever else there is to test. */
  constructor(ports?: Partial<BrokerPorts>) {
    let ours: InProcessBroker | undefined;
    this.isOurs = running.plain === undefined || running.isOurs || ports !== undefined;
    before(async () => {
      if (running.plain === undefined || ports !== undefined) {
        ours = await startInProcess(ports);
        this.#listeners = ours.listeners;
        return;
      }
      this.#listeners = {
        plain: addressOf(running.plain),
        limited: addressOf(running.limited),
        webSocket: addressOf(running.webSocket),
        guarded: addressOf(running.guarded),
      };
    });
    after(() => ours?.stop());
  }

  /** Known before the broker runs: why tests of that listener cannot run, for `skip`; `false` when they can. */
  lacks(listener: Exclude<keyof Listeners, "plain">): string | false {
    if (running.plain === undefined || running[listener] !== undefined) return false;
    return `the broker under test has no ${listener} listener (POSTERN_CONFORMANCE_TARGET_${listener.toUpperCase()})`;
  }

  /** `skip` for tests of what we promise beyond the specification, or of what only we know of ourselves. */
  unlessOurs(reason: string): string | false {
    return this.isOurs ? false : reason;
  }

  address(listener: keyof Listeners): Address {
    const address = this.#listeners?.[listener];
    assert.ok(address !== undefined, `no ${listener} listener`);
    return address;
  }

  /** A connection on which nothing was sent. */
  open(version: Version, listener: keyof Listeners = "plain", packetBytesMax?: number): Promise<RawClient> {
    return RawClient.open(this.address(listener), version, packetBytesMax);
  }

  /** A connection whose CONNECT was accepted; with a client id of its own unless one is given. */
  async connect(
    version: Version,
    options: ConnectOptions = {},
    listener: keyof Listeners = "plain",
  ): Promise<RawClient> {
    const client = await this.open(version, listener);
    try {
      await client.connect({ clientId: unique("c"), ...options });
    } catch (error) {
      await client.drop();
      throw error;
    }
    return client;
  }

  /**
   * That the broker ends the connection because of what the client sent: without a word before MQTT 5, otherwise
   * with DISCONNECT and one of these reason codes (a foreign broker may leave DISCONNECT out).
   */
  async expectRefused(client: RawClient, ...reasonCodes: number[]): Promise<void> {
    if (client.version !== 5) return client.expectClosed();
    if (!this.isOurs && (await client.closesOrSends()) === "closed") return;
    await client.expectDisconnect(...(this.isOurs ? reasonCodes : anyError));
  }

  /**
   * That the broker does not accept what the client sent in the place of CONNECT: it closes the connection, in
   * MQTT 5 after a CONNACK with one of these reason codes or without one.
   */
  async expectNotConnected(client: RawClient, ...reasonCodes: number[]): Promise<void> {
    if (client.version === 5 && (await client.closesOrSends()) === "connack") {
      const { reasonCode, sessionPresent } = await client.expect("connack");
      const allowed = this.isOurs ? reasonCodes : anyError;
      assert.ok(allowed.includes(reasonCode), `CONNACK with the reason code 0x${reasonCode.toString(16)}`);
      assert.equal(sessionPresent, false);
    }
    await client.expectClosed();
  }
}

const anyError = Array.from({ length: 0x80 }, (_, index) => 0x80 + index);

/** A name nobody else uses, of up to 23 letters and digits: tests that run at the same time do not meet. */
export function unique(prefix: string): string {
  return prefix + randomBytes(8).toString("hex");
}
