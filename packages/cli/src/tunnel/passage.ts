import type { Socket } from "node:net";

import { errorText } from "@postern/core/errors";
import type { Reporter } from "@postern/device/connection";
import { openTransport, type Transport } from "@postern/device/transport";

import { addressTold, withCredentials, type ConnectCredentials } from "./first-packets.ts";
import type { TlsTarget, TunnelServer } from "./way.ts";

/** How long knocking, connecting and TLS may take at one address of the server. */
const openMs = 20_000;

/** One program's connection: knocks, opens TLS as the device, and passes on what either side sends. */
export class Passage {
  readonly #client: Socket;
  readonly #server: TunnelServer;
  readonly #reporter: Reporter;
  readonly #chunks: Buffer[] = [];

  constructor(client: Socket, server: TunnelServer, reporter: Reporter) {
    this.#client = client;
    this.#server = server;
    this.#reporter = reporter;
    client.on("error", () => client.destroy());
  }

  /** Resolves when the way is open, or was refused. Never rejects. */
  async open(): Promise<void> {
    const client = this.#client;
    const [transport, first] = await Promise.all([this.#reach(), this.#firstBytes()]);
    if (transport === undefined || first === undefined || client.destroyed) {
      transport?.stream.destroy();
      client.destroy();
      return;
    }
    const { stream } = transport;
    if (stream.destroyed) {
      client.destroy();
      return;
    }
    stream.on("error", (error) => {
      if (!client.destroyed) this.#reporter.notice(errorText(error));
    });
    stream.once("data", (bytes: Buffer) => {
      const address = addressTold(bytes);
      if (address !== undefined) transport.seenFrom?.(address);
    });
    stream.on("close", () => client.destroySoon());
    client.on("close", () => {
      stream.end();
      setTimeout(() => stream.destroy(), 2_000).unref();
    });
    stream.write(first);
    stream.pipe(client);
    client.pipe(stream);
  }

  /** The first of the server's addresses that lets us in; `undefined` when none does, which was said. */
  async #reach(): Promise<Transport | undefined> {
    const problems: string[] = [];
    for (const target of this.#server.targets) {
      if (this.#client.destroyed) return undefined;
      const result = await this.#openAt(target);
      if (typeof result !== "string") return result;
      problems.push(`${target.url}: ${result}`);
    }
    if (!this.#client.destroyed) this.#reporter.notice(problems.join("; "));
    this.#client.destroy();
    return undefined;
  }

  #openAt(target: TlsTarget): Promise<Transport | string> {
    const { tls, knock } = this.#server;
    const transport = openTransport(target, { tls, knock, protocolVersion: 4 });
    const { stream } = transport;
    // Also while the program has not said anything yet: it is noticed by the stream's end.
    stream.on("error", () => undefined);
    return new Promise((resolve) => {
      const settle = (result: Transport | string): void => {
        clearTimeout(timer);
        this.#client.off("close", onGone);
        if (result !== transport) stream.destroy();
        resolve(result);
      };
      const onGone = (): void => settle("the program is gone");
      const timer = setTimeout(() => settle("nobody answers"), openMs);
      stream.once("error", (error) => settle(errorText(error)));
      stream.once("close", () => settle("it closes the connection"));
      stream.once("secureConnect", () => settle(transport));
      this.#client.once("close", onGone);
    });
  }

  /** What the program sends first, with what the bundle adds; `undefined` when it is gone before. */
  #firstBytes(): Promise<Buffer | undefined> {
    const client = this.#client;
    return new Promise((resolve) => {
      const onData = (chunk: Buffer): void => {
        this.#chunks.push(chunk);
        const first = withCredentials(Buffer.concat(this.#chunks), this.#credentials());
        if (first.kind === "incomplete") return;
        client.off("data", onData).pause();
        resolve(first.bytes);
      };
      client.on("data", onData);
      client.once("close", () => resolve(undefined));
    });
  }

  #credentials(): ConnectCredentials | undefined {
    const { username, password } = this.#server;
    return username === undefined || password === undefined ? undefined : { username, password };
  }
}
