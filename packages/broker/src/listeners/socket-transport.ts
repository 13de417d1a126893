import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

import type { Transport, TransportHandler } from "../transport.ts";
import { readDirectly } from "./direct-reads.ts";

/** How long a peer that has taken its leave may take to see the end, where it is to be told of it. */
const farewellMs = 2_000;

/** A TCP, TLS or Unix socket. */
export class SocketTransport implements Transport {
  readonly #socket: Socket;
  #ended = false;
  #linger: NodeJS.Timeout | undefined = undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Has the handler told what happens; called once, before anything can have happened. */
  attach(handler: TransportHandler): void {
    const onBytes = (bytes: Buffer): void => handler.onData(bytes);
    if (!readDirectly(this.#socket, onBytes)) this.#socket.on("data", onBytes);
    this.#socket.on("end", () => handler.onEnd());
    this.#socket.on("close", () => {
      clearTimeout(this.#linger);
      handler.onClose();
    });
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
    const socket = this.#socket;
    // It saves a third of what a short connection costs. Of the end of TLS the peer must be told, or it could be anybody's doing.
    if (lingerMs === 0 && socket.writableLength === 0 && !(socket instanceof TLSSocket)) {
      socket.destroy();
      return;
    }
    socket.end();
    this.#linger = setTimeout(cut, lingerMs === 0 ? farewellMs : lingerMs, socket).unref();
  }
}

function cut(socket: Socket): void {
  socket.destroy();
}

function ignore(): void {}
