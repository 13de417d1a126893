import type { Socket } from "node:net";

/** Bytes of one message. */
export const messageBytesMax = 262_144;
/** Bytes that may wait to be sent; what does not read is cut off. */
export const unsentBytesMax = 16_777_216;

const newline = 0x0a;

/** How long messages that came together are worked at before others have their turn: knocks, at the gate. */
const sliceMs = 1;

/** Why a channel ended. */
export type ChannelEnd = "closed" | "too long" | "not JSON" | "does not read";

/**
 * Messages over a stream socket: one JSON value a line, of bounded length. Whoever sends anything else is cut off.
 */
export class LineChannel {
  readonly #socket: Socket;
  readonly #onEnd: (why: ChannelEnd) => void;
  readonly #onMessage: (message: unknown) => void;
  #parts: Buffer[] = [];
  #bytes = 0;
  #ended = false;

  /** `onMessage` and `onEnd` are never called after `onEnd`. */
  constructor(socket: Socket, onMessage: (message: unknown) => void, onEnd: (why: ChannelEnd) => void) {
    this.#socket = socket;
    this.#onMessage = onMessage;
    this.#onEnd = onEnd;
    socket.on("data", (chunk: Buffer) => this.#take(chunk, 0));
    socket.on("error", () => undefined);
    socket.on("close", () => this.end("closed"));
  }

  get open(): boolean {
    return !this.#ended;
  }

  /** @returns whether it was sent on its way. */
  send(message: object): boolean {
    if (this.#ended) return false;
    this.#socket.write(`${JSON.stringify(message)}\n`);
    if (this.#socket.writableLength > unsentBytesMax) this.end("does not read");
    return !this.#ended;
  }

  end(why: ChannelEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    if (why === "closed") this.#socket.destroySoon();
    else this.#socket.destroy();
    this.#onEnd(why);
  }

  /** Takes what came, from `start` on, as far as a slice of time goes; the rest after others had their turn. */
  #take(chunk: Buffer, start: number): void {
    const endMs = performance.now() + sliceMs;
    for (let at = start; !this.#ended;) {
      const end = chunk.indexOf(newline, at);
      const part = chunk.subarray(at, end < 0 ? chunk.length : end);
      this.#bytes += part.length;
      if (this.#bytes > messageBytesMax) return this.end("too long");
      this.#parts.push(part);
      if (end < 0) break;
      at = end + 1;
      this.#message();
      if (performance.now() > endMs && at < chunk.length) {
        this.#socket.pause();
        setImmediate(() => this.#take(chunk, at));
        return;
      }
    }
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  #message(): void {
    const text = Buffer.concat(this.#parts).toString("utf8");
    this.#parts = [];
    this.#bytes = 0;
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch {
      return this.end("not JSON");
    }
    this.#onMessage(message);
  }
}
