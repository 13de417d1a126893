import type { Run } from "./shelf.ts";

/** A byte stream to one client, whatever carries it: TCP, TLS, a Unix socket, WebSocket. */
export interface Transport {
  /** Hands over bytes, which must not change until `done`. Writes complete in order. */
  write(bytes: Uint8Array, done: () => void): void;
  /** As `write`, for several pieces that follow each other, of which there is at least one; `done` is called once. */
  writeAll(pieces: readonly Uint8Array[], done: () => void): void;
  /** As `write`, where packets that many get are better named than copied; the run is looked at during the call only. */
  writeRun?(run: Run, done: () => void): void;
  pause(): void;
  resume(): void;
  /**
   * Sends what was written, says that no more comes, and gives the peer `lingerMs` to read it
   * before the connection is cut: closing at once could destroy a DISCONNECT that is still on its way. With 0 it reads nothing
   * more, having taken its leave: the connection may be closed at once.
   */
  end(lingerMs: number): void;
}

/** What a transport tells its owner. After `onClose` nothing more is called. */
export interface TransportHandler {
  /** No complete CONNECT has come yet: a transport that gathers bytes itself may gather only `packetBytesMax`. */
  readonly awaitsConnect: boolean;
  readonly packetBytesMax: number;
  /** The bytes are there during the call only: what comes next may come to the same memory. */
  onData(bytes: Buffer): void;
  /** The bytes that the transport holds of something that is not complete grew or shrank. */
  onGathered(bytesMore: number): void;
  /** The peer will send no more. */
  onEnd(): void;
  /** Not before what was handed on in spite of a pause could be taken: a client that left had said so in it. */
  onClose(): void;
}
