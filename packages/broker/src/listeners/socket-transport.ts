import type { Socket } from "node:net";

import type { Transport, TransportHandler } from "../transport.ts";
import { readDirectly } from "./direct-reads.ts";

/** A TCP, TLS or Unix socket. */
export class SocketTransport implements Transport {
  readonly #socket: Socket;
  #ended = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Has the handler told what happens; called once, before anything can have happened. */
  attach(handler: TransportHandler): void {
    const onBytes = (bytes: Buffer): void => handler.onData(bytes);
    if (!handler.looksAtOnce || !readDirectly(this.#socket, onBytes)) this.#socket.on("data", onBytes);
    this.#socket.once("end", () => handler.onEnd());
    this.#socket.once("close", () => handler.onClose());
    // A broken connection is a closed one: "close" follows.
    this.#socket.on("error", ignore);
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.#socket.write(bytes, done);
  }

  writeAll(pieces: readonly Uint8Array[], done: () => void): void {
    const last = pieces.length - 1;
    // Corked, they leave in one system call, and in one record of TLS where they fit.
    this.#socket.cork();
    for (const [index, bytes] of pieces.entries())
      if (index === last) this.#socket.write(bytes, done);
      else this.#socket.write(bytes);
    this.#socket.uncork();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(lingerMs: number): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.end();
    const timer = setTimeout(() => this.#socket.destroy(), lingerMs).unref();
    this.#socket.once("close", () => clearTimeout(timer));
  }
}

function ignore(): void {}
