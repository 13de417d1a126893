import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { openConnection, type Connection, type Reporter } from "@postern/device/connection";
import { ConnectionError, ServerRefusedError } from "@postern/device/errors";
import type { ConnectSettings } from "@postern/device/settings";

import { InterruptedError } from "../src/client/errors.ts";
import { Publisher } from "../src/publish/publisher.ts";
import { startPeer, type Peer } from "./support/peers.ts";

const connack = Buffer.of(0x20, 3, 0, 0, 0);

/** What a server does with its connections, one after another; the last one's behaviour stays. */
type Script = readonly ((socket: Socket, packet: Buffer) => void)[];

/** A server that hears packets; each client's packet comes alone, as they are small and answered one by one. */
async function startScripted(script: Script): Promise<Peer & { readonly connections: () => number }> {
  let connections = 0;
  const peer = await startPeer((socket) => {
    const react = script[Math.min(connections, script.length - 1)];
    connections++;
    socket.on("data", (packet: Buffer) => react?.(socket, packet));
  });
  return Object.assign(peer, { connections: () => connections });
}

function isPacket(packet: Buffer, type: number): boolean {
  return (packet[0] ?? 0) >> 4 === type;
}

/** Lets the client in; what comes then is for `react`. */
function accepting(react: (socket: Socket, packet: Buffer) => void): Script[number] {
  return (socket, packet) => (isPacket(packet, 1) ? socket.write(connack) : react(socket, packet));
}

const closing: Script[number] = (socket) => socket.end(connack);

/** Lets the client in, and ends the connection for another one with its client id. */
const takenOver: Script[number] = (socket) => {
  socket.write(connack);
  socket.end(Buffer.of(0xe0, 1, 0x8e));
};

/** Lets the client in, and a little later in no more: what proved it has ended. */
const expiring: Script[number] = (socket) => {
  socket.write(connack);
  setTimeout(() => socket.end(Buffer.of(0xe0, 1, 0x87)), 50);
};

function refusing(reasonCode: number): Script[number] {
  return (socket) => socket.end(Buffer.of(0x20, 3, 0, reasonCode, 0));
}

class Ears implements Reporter {
  readonly notices: string[] = [];
  notice(text: string): void {
    this.notices.push(text);
  }
  detail(): void {}
}

interface Opened extends AsyncDisposable {
  readonly connection: Connection;
  readonly notices: readonly string[];
  /** What the connection fails with for good. */
  readonly failure: Promise<unknown>;
  interrupt(): void;
}

async function open(port: number, changes: Partial<ConnectSettings> = {}): Promise<Opened> {
  const controller = new AbortController();
  const ears = new Ears();
  const settings: ConnectSettings = {
    targets: [{ kind: "tcp", host: "127.0.0.1", port, url: `mqtt://127.0.0.1:${port}` }],
    tls: { ca: undefined, cert: undefined, key: undefined },
    expiredSince: undefined,
    protocolVersion: 5,
    clientId: "test",
    clean: true,
    keepAliveSeconds: 60,
    username: undefined,
    password: undefined,
    will: () => undefined,
    properties: {},
    connectTimeoutMs: 5_000,
    reconnect: true,
    ...changes,
  };
  const connection = await openConnection(settings, {
    reporter: ears,
    signal: controller.signal,
    retryMsMin: 5,
  });
  return {
    connection,
    notices: ears.notices,
    failure: connection.guard(new Promise(() => {})).catch((thrown: unknown) => thrown),
    interrupt: () => controller.abort(new InterruptedError("interrupted")),
    [Symbol.asyncDispose]: async () => {
      await connection.end();
    },
  };
}

/** PUBLISH of "x" to "t", QoS 0. */
const published = Buffer.of(0x30, 5, 0, 1, 0x74, 0, 0x78);

describe("a server whose PINGRESP is far behind what it says otherwise", () => {
  it("is stayed with and hears PINGREQ in time, until it says nothing any more (MQTT 5.0 §3.1.2.10)", async () => {
    let pings = 0;
    let talking: NodeJS.Timeout | undefined;
    const talkative: Script[number] = (socket, packet) => {
      if (isPacket(packet, 1)) {
        socket.write(connack);
        talking = setInterval(() => socket.write(published), 50);
      } else if (isPacket(packet, 12) && ++pings === 4) {
        clearInterval(talking);
      }
    };
    await using peer = await startScripted([talkative]);
    await using opened = await open(peer.port, { keepAliveSeconds: 1, reconnect: false });
    let messages = 0;
    opened.connection.client.on("message", () => messages++);
    const failure = await opened.failure;
    clearInterval(talking);
    assert.ok(failure instanceof ConnectionError);
    assert.match(failure.message, /does not answer any more/);
    assert.ok(pings >= 4, `${pings} PINGREQ`);
    assert.ok(messages > 0);
  });
});

describe("a lost connection", () => {
  it("is made again, waiting longer each time nothing was gained, and given up when nothing ever is", async () => {
    await using peer = await startScripted([closing]);
    const startMs = performance.now();
    await using opened = await open(peer.port);
    const failure = await opened.failure;
    assert.ok(failure instanceof ConnectionError);
    assert.match(failure.message, /lets us in and ends the connection 5 times in a row/);
    assert.equal(peer.connections(), 5);
    // 5, 10, 20 and 40 ms, a fifth less or more, with the rounding of timers.
    assert.ok(performance.now() - startMs >= 55);
    const lost = opened.notices.filter((notice) => notice.startsWith("connection lost"));
    assert.equal(lost.length, 1, opened.notices.join("\n"));
  });

  it("is made again through refusals that pass, and ends with one that does not", async () => {
    await using peer = await startScripted([
      closing,
      refusing(0x88),
      refusing(0x89),
      refusing(0x97),
      refusing(0x87),
    ]);
    await using opened = await open(peer.port);
    const failure = await opened.failure;
    assert.ok(failure instanceof ServerRefusedError);
    assert.equal(failure.reasonCode, 0x87);
    assert.equal(peer.connections(), 5);
  });

  it("is made again with a certificate that was renewed meanwhile, and is given up when it was not", async () => {
    const nobody = { ca: undefined, cert: undefined, key: undefined };
    let latest = { ...nobody, cert: "old" };
    await using peer = await startScripted([closing, refusing(0x87), accepting(() => {})]);
    await using opened = await open(peer.port, { tls: latest, latestTls: () => latest });
    latest = { ...nobody, cert: "new" };
    const failure = await opened.failure;
    assert.ok(failure instanceof ServerRefusedError, "the second refusal is of the new one");
    assert.equal(peer.connections(), 2);

    await using ending = await startScripted([expiring, accepting(() => {})]);
    const renewed = { cert: "old" };
    await using staying = await open(ending.port, { latestTls: () => ({ ...nobody, ...renewed }) });
    renewed.cert = "new";
    while (ending.connections() < 2) await delay(2);
    assert.ok(staying.notices.some((notice) => /connection lost: .*Not authorized/.test(notice)));
  });

  it("is not made again when another client took over the session (MQTT 5.0 §3.14.2.1)", async () => {
    await using peer = await startScripted([takenOver]);
    await using opened = await open(peer.port);
    assert.match(String(await opened.failure), /Session taken over/);
    assert.equal(peer.connections(), 1);
  });

  it("is not made again when told not to, nor after an interruption", async () => {
    await using peer = await startScripted([closing]);
    await using once = await open(peer.port, { reconnect: false });
    assert.ok((await once.failure) instanceof ConnectionError);
    assert.equal(peer.connections(), 1);

    await using staying = await startScripted([accepting(() => {})]);
    await using interrupted = await open(staying.port);
    interrupted.interrupt();
    assert.ok((await interrupted.failure) instanceof InterruptedError);
    await interrupted.connection.end();
    await delay(20);
    assert.equal(staying.connections(), 1);
  });
});

describe("a message on its way when the connection breaks", () => {
  const request = { topic: "t", qos: 2, retain: false, properties: {}, protocolVersion: 5 } as const;

  it("with QoS 2 counts as published when the server had it, though its new session knows nothing (MQTT 5.0 §4.3.3)", async () => {
    const breaking = accepting((socket, packet) => {
      if (isPacket(packet, 3)) socket.write(Buffer.of(0x50, 2, packet[5] ?? 0, packet[6] ?? 0));
      if (isPacket(packet, 6)) socket.destroy();
    });
    const forgetful = accepting((socket, packet) => {
      if (isPacket(packet, 6)) socket.write(Buffer.of(0x70, 3, packet[2] ?? 0, packet[3] ?? 0, 0x92));
    });
    await using peer = await startScripted([breaking, forgetful]);
    await using opened = await open(peer.port);
    const published: (number | undefined)[] = [];
    const publisher = new Publisher(opened.connection, request, ({ reasonCode }) =>
      published.push(reasonCode),
    );
    await publisher.publishAll([Buffer.from("x")]);
    assert.deepEqual(published, [0]);
  });

  it("with QoS 1 is sent again, and those after it keep their order", async () => {
    const received: string[] = [];
    let broken = false;
    const react = accepting((socket, packet) => {
      // Several packets may come at once: each has 2 + 8 bytes here.
      for (let at = 0; at + 10 <= packet.length; at += 10) {
        if (!isPacket(packet.subarray(at), 3)) continue;
        const text = packet.toString("latin1", at + 8, at + 10);
        if (text === "m3" && !broken) {
          broken = true;
          socket.destroy();
          return;
        }
        received.push(text);
        socket.write(Buffer.of(0x40, 2, packet[at + 5] ?? 0, packet[at + 6] ?? 0));
      }
    });
    await using peer = await startScripted([react]);
    await using opened = await open(peer.port);
    const publisher = new Publisher(opened.connection, { ...request, qos: 1 }, () => {});
    const texts = Array.from({ length: 8 }, (_, index) => `m${index}`);
    await publisher.publishAll(texts.map((text) => Buffer.from(text)));
    assert.deepEqual(received, texts);
    assert.equal(peer.connections(), 2);
  });

  it("with QoS 0 is gone, and nobody waits for it", async () => {
    let broken = false;
    const react = accepting((socket, packet) => {
      if (isPacket(packet, 3) && !broken) {
        broken = true;
        socket.destroy();
      }
    });
    await using peer = await startScripted([react]);
    await using opened = await open(peer.port);
    const publisher = new Publisher(opened.connection, { ...request, qos: 0 }, () => {});
    const payloads = Array.from({ length: 2_000 }, () => Buffer.alloc(10_000));
    await publisher.publishAll(payloads);
    assert.equal(publisher.unacknowledged, 0);
  });
});
