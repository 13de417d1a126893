import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";
import { connect, type ConnectionOptions } from "node:tls";

import { systemClock } from "@postern/core/clock";
import { MemorySessionStore } from "@postern/store/memory-session-store";

import { BrokerContext } from "../src/context.ts";
import { limitsSchema } from "../src/limits.ts";
import { Admission } from "../src/listeners/admission.ts";
import { startListener, type ListenerOptions, type RunningListener } from "../src/listeners/listener.ts";
import { TlsSessions, type Resumption } from "../src/listeners/tls-sessions.ts";
import type { Peer } from "../src/ports.ts";
import { openBrokerPorts } from "../src/testing/open-broker.ts";
import { selfSigned } from "./support/self-signed.ts";

const server = selfSigned();
const device = selfSigned();

const closing: (() => void)[] = [];
after(() => {
  for (const close of closing) close();
});

interface Stage {
  readonly sessions: TlsSessions;
  readonly listeners: readonly RunningListener[];
  /** Who connected, as the broker is told. */
  readonly peers: Peer[];
}

/** Listeners that send one byte and keep what they are told of their peers. */
async function stage(resumption: Resumption, count = 1, own: Partial<ListenerOptions> = {}): Promise<Stage> {
  const context = new BrokerContext(openBrokerPorts(new MemorySessionStore()), {
    limits: limitsSchema.parse({}),
    responseInformation: undefined,
    serverReference: undefined,
    version: "test",
  });
  const sessions = new TlsSessions(resumption, systemClock);
  const peers: Peer[] = [];
  const host = {
    context,
    admission: new Admission(context),
    accept: (transport: { write(bytes: Uint8Array, done: () => void): void }, peer: Peer) => {
      peers.push(peer);
      transport.write(Buffer.from("x"), () => {});
      return {
        awaitsConnect: true,
        packetBytesMax: 4_096,
        onData() {},
        onGathered() {},
        onEnd() {},
        onClose() {},
      };
    },
    sessionsFor: () => sessions,
  };
  const material = { cert: server, key: server };
  const listeners: RunningListener[] = [];
  for (let index = 0; index < count; index += 1)
    listeners.push(
      await startListener(
        {
          name: `l${index}`,
          kind: "mqtts",
          host: "127.0.0.1",
          port: 0,
          anonymous: false,
          confidential: true,
          limits: {},
          tls: () => ({ context: material, requestCertificate: true }),
          resumption,
          ...own,
        },
        host,
      ),
    );
  closing.push(() => {
    sessions.close();
    context.wheel.close();
    context.line.close();
    for (const listener of listeners) {
      void listener.close();
      listener.cut();
    }
  });
  return { sessions, listeners, peers };
}

interface Connected {
  readonly reused: boolean;
  readonly session: Buffer | undefined;
}

/** One connection: waits for the byte, by which time a session, if there is one, has come. */
async function visit(listener: RunningListener | undefined, options: ConnectionOptions): Promise<Connected> {
  const socket = connect({
    host: "127.0.0.1",
    port: listener?.port ?? 0,
    ca: server,
    servername: "localhost",
    ...options,
  });
  let session: Buffer | undefined;
  const told = new Promise<void>((resolve) => {
    socket.on("session", (fresh: Buffer) => {
      session = fresh;
      resolve();
    });
  });
  await new Promise((resolve, reject) => {
    socket.once("data", resolve);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed")));
  });
  // Tickets of TLS 1.3 come in records of their own, which the client may tell of after the data.
  if (socket.getProtocol() === "TLSv1.3") await Promise.race([told, setTimeout(300)]);
  const connected = { reused: socket.isSessionReused(), session: session ?? socket.getSession() };
  socket.destroy();
  return connected;
}

const versions = ["TLSv1.2", "TLSv1.3"] as const;
const tickets: Resumption = { tickets: true, ids: false, seconds: 3_600 };
const both: Resumption = { tickets: true, ids: true, seconds: 3_600 };
const ids: Resumption = { tickets: false, ids: true, seconds: 3_600 };

function only(version: (typeof versions)[number]): ConnectionOptions {
  return { minVersion: version, maxVersion: version, cert: device, key: device };
}

describe("TLS sessions", () => {
  for (const version of versions) {
    it(`are taken up by tickets of this key and the one before, not of the one before that (${version})`, async () => {
      const { sessions, listeners, peers } = await stage(tickets);
      const { session, reused } = await visit(listeners[0], only(version));
      assert.equal(reused, false);
      for (const expected of [true, true, false]) {
        const again = await visit(listeners[0], { ...only(version), session });
        assert.equal(again.reused, expected);
        sessions.rotate();
      }
      const certificate = peers[0]?.certificate;
      assert.ok(certificate !== undefined);
      for (const peer of peers)
        assert.deepEqual(peer.certificate, certificate, "resumed ones bring the certificate, too");
    });

    it(`are forgotten at once when tickets are dropped (${version})`, async () => {
      const { sessions, listeners } = await stage(both);
      const { session } = await visit(listeners[0], only(version));
      sessions.rotate();
      assert.equal((await visit(listeners[0], { ...only(version), session })).reused, true);
      listeners[0]?.dropTickets();
      const after = await visit(listeners[0], { ...only(version), session });
      assert.equal(after.reused, false);
      assert.equal((await visit(listeners[0], { ...only(version), session: after.session })).reused, true);
    });

    it(`survive new certificates of the server (${version})`, async () => {
      const { listeners } = await stage(tickets);
      const { session } = await visit(listeners[0], only(version));
      listeners[0]?.reloadTls();
      assert.equal((await visit(listeners[0], { ...only(version), session })).reused, true);
    });

    it(`are shared by listeners with the same settings (${version})`, async () => {
      const { listeners, sessions } = await stage(tickets, 2);
      const { session } = await visit(listeners[0], only(version));
      assert.equal((await visit(listeners[1], { ...only(version), session })).reused, true);
      listeners[0]?.dropTickets();
      assert.equal((await visit(listeners[1], { ...only(version), session })).reused, false);
      sessions.rotate();
    });

    it(`without a client certificate are those of a client without one (${version}; the trap of Node 20)`, async () => {
      const { listeners, peers } = await stage(both);
      const { minVersion, maxVersion } = only(version);
      const { session } = await visit(listeners[0], { minVersion, maxVersion });
      const again = await visit(listeners[0], { minVersion, maxVersion, session });
      assert.equal(again.reused, true);
      // Also when the certificate is there for the asking: the resumed session is the one without.
      assert.equal((await visit(listeners[0], { ...only(version), session })).reused, true);
      for (const peer of peers) assert.equal(peer.certificate, undefined);
    });

    it(`are not those of a listener for pre-shared keys (${version})`, async () => {
      const key = Buffer.alloc(32, 1);
      const { listeners, peers } = await stage(both, 1, {
        psk: { keyOf: (identity) => (identity === "meter" ? key : undefined), failed() {} },
        tls: () => ({ context: {}, requestCertificate: false }),
      });
      const own: ConnectionOptions = {
        minVersion: version,
        maxVersion: version,
        ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-PSK-CHACHA20-POLY1305",
        checkServerIdentity: () => undefined,
      };
      const withKey = { ...own, pskCallback: () => ({ identity: "meter", psk: key }) };
      const { session } = await visit(listeners[0], withKey);
      assert.equal(peers[0]?.pskIdentity, "meter");
      assert.equal(peers[0]?.certificate, undefined);
      await assert.rejects(visit(listeners[0], { ...own, session }), "a session alone opens nothing");
      assert.equal(peers.length, 1);
    });
  }

  it("are taken up by their ids in TLS 1.2, and in TLS 1.3 not at all", async () => {
    const { listeners, sessions } = await stage(ids);
    const { session } = await visit(listeners[0], only("TLSv1.2"));
    const first = await visit(listeners[0], { ...only("TLSv1.2"), session });
    assert.equal(first.reused, true);
    sessions.drop();
    assert.equal((await visit(listeners[0], { ...only("TLSv1.2"), session })).reused, false);
    const later = await visit(listeners[0], only("TLSv1.3"));
    assert.equal((await visit(listeners[0], { ...only("TLSv1.3"), session: later.session })).reused, false);
  });

  it("end with their time", () => {
    let nowMs = 0;
    const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
    const sessions = new TlsSessions({ tickets: true, ids: true, seconds: 10 }, clock);
    const id = Buffer.from("id");
    sessions.keep(id, Buffer.from("session"));
    nowMs = 9_999;
    assert.equal(sessions.find(id)?.toString(), "session");
    nowMs = 10_000;
    assert.equal(sessions.find(id), undefined);
    sessions.close();
  });

  it("kept by their ids never become more than 4,096: the oldest gives way", () => {
    const sessions = new TlsSessions(ids, systemClock);
    for (let count = 0; count <= 4_096; count += 1)
      sessions.keep(Buffer.from(`id ${count}`), Buffer.from("s"));
    assert.equal(sessions.find(Buffer.from("id 0")), undefined);
    assert.ok(sessions.find(Buffer.from("id 1")) !== undefined);
    assert.ok(sessions.find(Buffer.from("id 4096")) !== undefined);
    sessions.close();
  });
});
