import type { RawData, WebSocket } from "ws";

import type { Transport, TransportHandler } from "../transport.ts";

/** @see RFC 6455 §7.4.1: 1000 normal closure, 1003 unsupported data */
const normalClosure = 1_000;
const unsupportedData = 1_003;
/** @see RFC 6455 §7.4.1: 1008 policy violation */
const policyViolation = 1_008;
/** How long a peer that broke the rules may take to close. */
const faultLingerMs = 2_000;

/** How long one that has taken its leave may take to answer the closing of the WebSocket. */
const farewellMs = 2_000;

/** Pings of a client that has sent no message between them; MQTT has its own, which counts as a sign of life. */
const pingsMax = 16;
/** With this much waiting to be read by the client it does not read: more answers would only fill the memory. */
const pongBytesMax = 65_536;

/** MQTT in binary WebSocket frames; packets and frames need not align. @see MQTT 5.0 §6 */
export class WebSocketTransport implements Transport {
  readonly #webSocket: WebSocket;
  #ended = false;
  #pings = 0;
  #isPaused = false;
  /** Something was handed on after the pause: what a client sends in one piece, `ws` hands on to its end. */
  #isAhead = false;
  /** Told of the close once what is ahead of it was taken. */
  #onClose: (() => void) | undefined = undefined;

  constructor(webSocket: WebSocket) {
    this.#webSocket = webSocket;
  }

  attach(handler: TransportHandler): void {
    this.#webSocket.on("message", (data: RawData, isBinary: boolean) => {
      // What comes after a frame of another type is not MQTT any more. @see MQTT 5.0 [MQTT-6.0.0-1]
      if (this.#ended) return;
      this.#pings = 0;
      this.#isAhead = this.#isPaused;
      if (!isBinary) this.#close(unsupportedData, faultLingerMs);
      else if (Buffer.isBuffer(data)) handler.onData(data);
    });
    this.#webSocket.on("ping", (data: Buffer) => this.#pong(data));
    this.#webSocket.once("close", () => {
      if (this.#isAhead) this.#onClose = () => handler.onClose();
      else handler.onClose();
    });
    // A frame that breaks RFC 6455 closes the connection: "close" follows.
    this.#webSocket.on("error", ignore);
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.#webSocket.send(bytes, { binary: true, fin: true }, done);
  }

  writeAll(pieces: readonly Uint8Array[], done: () => void): void {
    const last = pieces.length - 1;
    for (const [index, bytes] of pieces.entries())
      this.#webSocket.send(bytes, { binary: true, fin: true }, index === last ? done : undefined);
  }

  pause(): void {
    this.#isPaused = true;
    this.#webSocket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#isAhead = false;
    this.#webSocket.resume();
    const onClose = this.#onClose;
    this.#onClose = undefined;
    onClose?.();
  }

  end(lingerMs: number): void {
    this.#close(normalClosure, lingerMs === 0 ? farewellMs : lingerMs);
  }

  /** @see RFC 6455 §5.5.2 */
  #pong(data: Buffer): void {
    if (this.#ended) return;
    this.#pings += 1;
    if (this.#pings > pingsMax || this.#webSocket.bufferedAmount > pongBytesMax)
      this.#close(policyViolation, faultLingerMs);
    else this.#webSocket.pong(data);
  }

  #close(code: number, lingerMs: number): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#webSocket.close(code);
    const timer = setTimeout(() => this.#webSocket.terminate(), lingerMs).unref();
    this.#webSocket.once("close", () => clearTimeout(timer));
  }
}

function ignore(): void {}
