import type { Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";
import type { Server, TlsOptions, TLSSocket } from "node:tls";

import type { Admitted } from "./admission.ts";
import { peekClientHello } from "./client-hello.ts";
import type { Protocol, Wiring } from "./listener.ts";
import { socketOptions } from "./peer.ts";
import { PskKeys } from "./psk.ts";
import { stapleAnswers } from "./stapling.ts";
import { withPolicy } from "./tls-policy.ts";
import type { TlsSessions } from "./tls-sessions.ts";
import { TlsWatch } from "./tls-watch.ts";

/** Sessions of one kind of listener are not taken up at another. @see SSL_CTX_set_session_id_context(3) */
const sessionIdContext = "postern-certificate";

/** What a TLS listener adds to its server, whether MQTT or HTTP is on top of it. */
export class TlsProtocol implements Protocol {
  readonly #wiring: Wiring;
  readonly #sessions: TlsSessions | undefined;
  /** One, or one for each key of tickets that is in use. */
  readonly #servers: readonly (Server | HttpsServer)[];
  readonly #entrances = new Map<string, Admitted>();
  readonly #watch: TlsWatch;
  readonly psk: PskKeys | undefined;

  constructor(wiring: Wiring, createServer: (options: TlsOptions) => Server | HttpsServer) {
    this.#wiring = wiring;
    this.psk = wiring.options.psk === undefined ? undefined : new PskKeys(wiring.options.psk);
    this.#sessions = wiring.sessions;
    const slots = this.#sessions?.resumption.tickets === true ? ([0, 1] as const) : ([0] as const);
    this.#servers = slots.map((slot) => {
      const server = createServer(this.#options(slot));
      this.#attach(server);
      return server;
    });
    this.#sessions?.onChange(() => this.#useKeys());
    this.#watch = new TlsWatch((socket) => this.#flooded(socket));
  }

  take(entrance: Admitted): void {
    const { socket } = entrance;
    const key = placeOf(socket);
    // It has gone while it waited.
    if (key === undefined) {
      socket.destroy();
      return;
    }
    this.#entrances.set(key, entrance);
    socket.once("close", () => this.#entrances.delete(key));
    if (this.#sessions?.overlaps !== true || this.#servers.length === 1) this.#begin(socket, undefined);
    else peekClientHello(socket, (clientHello) => this.#begin(socket, clientHello));
  }

  /** The entrance that a secured socket came through; `undefined` when the connection is gone. */
  entranceOf(socket: TLSSocket): Admitted | undefined {
    const key = placeOf(socket);
    return key === undefined ? undefined : this.#entrances.get(key);
  }

  reloadTls(): void {
    for (const [slot, server] of this.#servers.entries()) server.setSecureContext(this.#options(slot));
  }

  dropTickets(): void {
    this.#sessions?.drop();
  }

  close(): void {
    this.#watch.close();
  }

  #begin(socket: Socket, clientHello: Buffer | undefined): void {
    const slot = this.#sessions === undefined ? 0 : slotFor(this.#sessions, clientHello);
    const server = this.#servers[slot] ?? this.#servers[0];
    server?.emit("connection", socket);
  }

  #options(slot: number): TlsOptions {
    const { options } = this.#wiring;
    if (options.tls === undefined) throw new TypeError(`listener ${options.name} needs TLS material`);
    const { context, requestCertificate } = options.tls();
    const { psk } = this;
    const resumption = this.#sessions?.resumption;
    const tickets = resumption?.tickets === true;
    const keys = this.#sessions?.keys[slot === 0 ? 0 : 1];
    return {
      ...socketOptions,
      ...withPolicy(context, { proof: psk === undefined ? "certificate" : "psk", tickets }),
      requestCert: psk === undefined && requestCertificate,
      // Whom to let in is decided at CONNECT, from the certificate's bytes, where a refusal can be explained.
      rejectUnauthorized: false,
      ...(psk === undefined ? {} : { pskCallback: (socket, identity) => psk.keyFor(socket, identity) }),
      ...(resumption === undefined ? {} : { sessionIdContext, sessionTimeout: resumption.seconds }),
      ...(tickets && keys !== undefined ? { ticketKeys: keys } : {}),
    };
  }

  #attach(server: Server | HttpsServer): void {
    const sessions = this.#sessions;
    server.on("secureConnection", (socket: TLSSocket) => {
      const entrance = this.entranceOf(socket);
      if (entrance === undefined) socket.destroy();
      else this.#watch.add(entrance.socket, socket);
    });
    server.on("tlsClientError", (error, socket) => {
      this.#failed(error, socket);
      socket.destroy();
    });
    stapleAnswers(server, this.#wiring.options);
    if (sessions?.resumption.ids !== true) return;
    server.on("newSession", (id: Buffer, session: Buffer, done: () => void) => {
      sessions.keep(id, session);
      done();
    });
    server.on("resumeSession", (id: Buffer, done: (error: Error | null, session: Buffer | null) => void) =>
      done(null, sessions.find(id) ?? null),
    );
  }

  #failed(error: Error, socket: TLSSocket): void {
    const { context, options } = this.#wiring;
    const address = socket.remoteAddress ?? "";
    context.ports.log.debug({ error: error.message, address }, "TLS handshake failed");
    const identity = this.psk?.claimedBy(socket);
    // Whoever claimed an identity and could not prove it; a connection that broke off has proved nothing either way.
    if (identity === undefined || !isWrongKey(error)) return;
    context.stats.connectRefused += 1;
    this.psk?.failed(identity, address);
    context.ports.audit.record({
      kind: "connect-refused",
      listener: options.name,
      address,
      clientId: "",
      identity,
      detail: "the pre-shared key is not this identity's, or nobody has it",
    });
  }

  #flooded(socket: TLSSocket): void {
    const { context, options } = this.#wiring;
    context.ports.audit.record({
      kind: "limit-reached",
      listener: options.name,
      address: socket.remoteAddress ?? "",
      clientId: "",
      identity: this.psk?.claimedBy(socket) ?? "",
      detail: "a flood of TLS records that carry nothing",
    });
  }

  #useKeys(): void {
    const keys = this.#sessions?.keys;
    if (keys === undefined) return;
    for (const [slot, server] of this.#servers.entries()) server.setTicketKeys(keys[slot === 0 ? 0 : 1]);
  }
}

function slotFor(sessions: TlsSessions, clientHello: Buffer | undefined): 0 | 1 {
  return clientHello === undefined ? sessions.slot : sessions.slotOf(clientHello);
}

/** Address and port of the other side: no two connections to one listener have both in common. */
function placeOf(socket: Socket): string | undefined {
  const { remoteAddress, remotePort } = socket;
  return remoteAddress === undefined ? undefined : `${remoteAddress} ${remotePort ?? 0}`;
}

const wrongKeyCodes: ReadonlySet<unknown> = new Set([
  // TLS 1.3, and TLS 1.2.
  "ERR_SSL_BINDER_DOES_NOT_VERIFY",
  "ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
]);

function isWrongKey(error: Error & { readonly code?: unknown }): boolean {
  return wrongKeyCodes.has(error.code);
}
