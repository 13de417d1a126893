import { connect, type Socket } from "node:net";
import { Duplex } from "node:stream";

import { parseIpAddress } from "@postern/knock/ip-address";

import { beforeKnockingAgain, knock, synRetriesMs, type KnockSettings } from "./knock.ts";

/** A device that has knocked so often in a row and was not let in waits for somebody to look into it. */
const knocksMax = 20;

/**
 * A TCP connection to a hidden port, as a stream that can be written to at once: it knocks, tries to connect again and again in the
 * milliseconds that the gate needs, and knocks once more when that is not enough. Emits `connect` when the connection is there.
 */
export class KnockingSocket extends Duplex {
  readonly #host: string;
  readonly #port: number;
  readonly #settings: KnockSettings;
  readonly #abort = new AbortController();
  #socket: Socket | undefined;
  /** A write that waits for the connection. */
  #waiting: (() => void) | undefined;

  constructor(host: string, port: number, settings: KnockSettings) {
    super({ allowHalfOpen: false });
    this.#host = host;
    this.#port = port;
    this.#settings = settings;
    void this.#connect().catch((error: unknown) =>
      this.destroy(error instanceof Error ? error : new Error(String(error))),
    );
  }

  /** The server said which address it sees this connection come from. */
  seenFrom(text: string): void {
    const [own, seen] = [parseIpAddress(this.#socket?.localAddress ?? ""), parseIpAddress(text)];
    if (own !== undefined && seen !== undefined) this.#settings.publicAddress.learn(own, seen);
  }

  override _read(): void {
    this.#socket?.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const write = (): void => {
      if (this.#socket === undefined) done(new Error("not connected"));
      else if (this.#socket.write(chunk)) done();
      else this.#socket.once("drain", () => done());
    };
    if (this.#socket === undefined) this.#waiting = write;
    else write();
  }

  override _final(done: () => void): void {
    this.#socket?.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#abort.abort();
    this.#socket?.destroy();
    done(error);
  }

  async #connect(): Promise<void> {
    const { signal } = this.#abort;
    let failure: Error | undefined;
    for (let round = 0; round < knocksMax && !signal.aborted; round++) {
      await knock(this.#host, this.#settings, { action: "open", windowSeconds: 0, round });
      for (const waitMs of synRetriesMs) {
        const result = await tryConnect(this.#host, this.#port, waitMs, signal);
        if (signal.aborted) {
          if (!(result instanceof Error)) result?.destroy();
          return;
        }
        if (result instanceof Error) failure = result;
        else if (result !== undefined) return this.#connected(result);
      }
      await beforeKnockingAgain(signal).catch(() => undefined);
    }
    throw failure ?? Object.assign(new Error("connect ETIMEDOUT"), { code: "ETIMEDOUT" });
  }

  #connected(socket: Socket): void {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause();
    });
    socket.on("end", () => this.push(null));
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.destroy());
    this.emit("connect");
    this.#waiting?.();
    this.#waiting = undefined;
  }
}

/** A connection, the reason why there is none, or `undefined` when nobody answered in time. */
function tryConnect(
  host: string,
  port: number,
  waitMs: number,
  signal: AbortSignal,
): Promise<Socket | Error | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const finish = (result: Socket | Error | undefined): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      socket.removeAllListeners();
      if (!(result === socket)) socket.on("error", () => {}).destroy();
      resolve(result);
    };
    const onAbort = (): void => finish(undefined);
    const timer = setTimeout(() => finish(undefined), waitMs);
    signal.addEventListener("abort", onAbort);
    socket.once("connect", () => finish(socket));
    socket.once("error", (error) => finish(error));
  });
}
