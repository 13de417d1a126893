import { mkdtempSync, rmSync } from "node:fs";
import { createServer, connect, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Limits } from "@postern/broker/limits";
import type { ListenerKind, RunningListener } from "@postern/broker/listeners/listener";
import type { AuthenticateResult, Authenticator } from "@postern/broker/ports";
import { authorizerBy, openBroker, permissionsBy } from "@postern/broker/testing/open-broker";
import { MemorySessionStore } from "@postern/store/memory-session-store";

import type { Certificates } from "./certificates.ts";

function isPermitted(text: string): boolean {
  return !/^forbidden(\/|$)/.test(text);
}

/** Nobody may use `forbidden` and what is below it. */
const authorizer = authorizerBy(() =>
  permissionsBy({ mayPublish: isPermitted, maySubscribe: isPermitted, mayReceive: isPermitted }),
);

/** Who gives a user name must be `alice` with the password `geheim`; others are anonymous. */
const authenticator: Authenticator = {
  authenticate: ({ username, password }): AuthenticateResult => {
    if (username === undefined)
      return { kind: "accepted", identity: { name: "", anonymous: true }, untilMs: Infinity };
    const isAlice = username === "alice" && Buffer.from(password ?? []).toString() === "geheim";
    return isAlice
      ? { kind: "accepted", identity: { name: "alice", anonymous: false }, untilMs: Infinity }
      : { kind: "refused", reasonCode: 0x86, reason: "not alice" };
  },
  exchange: () => undefined,
};

/** Our own broker in this process, with listeners on loopback and nothing on disk. */
export class TestBroker implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), "postern-client-"));
  readonly #open;
  readonly #certificates: Certificates | undefined;

  constructor(
    options: {
      readonly limits?: Partial<Limits>;
      readonly certificates?: Certificates;
      readonly responseInformation?: string;
    } = {},
  ) {
    const { certificates, ...rest } = options;
    this.#certificates = certificates;
    this.#open = openBroker({
      ...rest,
      store: new MemorySessionStore(),
      ports: { authenticator, authorizer },
    });
  }

  get broker() {
    return this.#open.broker;
  }

  listen(kind: ListenerKind = "mqtt"): Promise<RunningListener> {
    const certificates = this.#certificates;
    const tls =
      certificates === undefined
        ? undefined
        : () => ({
            context: {
              cert: certificates.server.certificate,
              key: certificates.server.key,
              ca: certificates.root.certificate,
            },
            requestCertificate: true,
          });
    const host = kind === "unix" ? join(this.directory, "socket") : "127.0.0.1";
    return this.broker.listen({
      name: kind,
      kind,
      host,
      port: 0,
      anonymous: true,
      confidential: true,
      limits: {},
      tls,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.broker.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** A way to a server that can be cut. */
export class Proxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly url: string;
  /** While true, connections are accepted and cut at once. */
  isCut = false;

  private constructor(server: Server, targetPort: number) {
    this.#server = server;
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    this.url = `mqtt://127.0.0.1:${address.port}`;
    server.on("connection", (client) => {
      if (this.isCut) {
        client.destroy();
        return;
      }
      const upstream = connect({ host: "127.0.0.1", port: targetPort });
      for (const [from, to] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.#sockets.add(from);
        from.on("error", () => {});
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
  }

  static async start(targetPort: number): Promise<Proxy> {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    return new Proxy(server, targetPort);
  }

  /** Breaks every connection that is open. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isCut = true;
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
