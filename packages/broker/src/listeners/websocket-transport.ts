import type { RawData, WebSocket } from "ws";

import type { Transport, TransportHandler } from "../transport.ts";
import { lingerMs } from "./socket-transport.ts";

/** @see RFC 6455 §7.4.1: 1000 normal closure, 1003 unsupported data */
const normalClosure = 1_000;
const unsupportedData = 1_003;

/** MQTT in binary WebSocket frames; packets and frames need not align. @see MQTT 5.0 §6 */
export class WebSocketTransport implements Transport {
  readonly #webSocket: WebSocket;
  #ended = false;

  constructor(webSocket: WebSocket) {
    this.#webSocket = webSocket;
  }

  attach(handler: TransportHandler): void {
    this.#webSocket.on("message", (data: RawData, isBinary: boolean) => {
      // What comes after a frame of another type is not MQTT any more. @see MQTT 5.0 [MQTT-6.0.0-1]
      if (this.#ended) return;
      if (!isBinary) this.#close(unsupportedData);
      else if (Buffer.isBuffer(data)) handler.onData(data);
    });
    this.#webSocket.once("close", () => handler.onClose());
    // A frame that breaks RFC 6455 closes the connection: "close" follows.
    this.#webSocket.on("error", ignore);
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.#webSocket.send(bytes, { binary: true, fin: true }, done);
  }

  pause(): void {
    this.#webSocket.pause();
  }

  resume(): void {
    this.#webSocket.resume();
  }

  end(): void {
    this.#close(normalClosure);
  }

  #close(code: number): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#webSocket.close(code);
    const timer = setTimeout(() => this.#webSocket.terminate(), lingerMs).unref();
    this.#webSocket.once("close", () => clearTimeout(timer));
  }
}

function ignore(): void {}
