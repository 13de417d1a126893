import { readFileSync } from "node:fs";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, createSecureContext, type SecureContext, TLSSocket } from "node:tls";

import type { Target, TlsFiles } from "./job.ts";
import { Deframer, frameHeader, upgradeRequest } from "./web-socket.ts";

/** All sockets read into the same memory, one after the other: what is not complete is copied by its reader. */
const readBuffer = Buffer.allocUnsafeSlow(262_144);

const contexts = new Map<string, SecureContext>();

function contextFor({ ca, cert, key }: TlsFiles): SecureContext {
  const name = `${ca} ${cert ?? ""}`;
  const known = contexts.get(name);
  if (known !== undefined) return known;
  const made = createSecureContext({
    ca: readFileSync(ca),
    ...(cert === undefined ? {} : { cert: readFileSync(cert) }),
    ...(key === undefined ? {} : { key: readFileSync(key) }),
    minVersion: "TLSv1.3",
  });
  contexts.set(name, made);
  return made;
}

/** Takes up a TLS session, where there is one, and is told each that the server gives. */
export interface Resumption {
  readonly session: Buffer | undefined;
  readonly onSession: (session: Buffer) => void;
}

/** A byte stream to the server under test: TCP or TLS, with WebSocket on top where the target says so. */
export class Link {
  readonly #framed: boolean;
  #socket: Socket | undefined;
  /** The bytes are valid during the call only. */
  onBytes: (bytes: Buffer) => void = () => {};
  /** The connection has ended. */
  onClose: () => void = () => {};

  private constructor(target: Target) {
    this.#framed = target.webSocket;
  }

  /** Rejects with the system's error. */
  static async open(target: Target, resumption?: Resumption): Promise<Link> {
    const link = new Link(target);
    let take = (bytes: Buffer): void => link.onBytes(bytes);
    const socket = connect(target, (bytes) => take(bytes), resumption);
    link.#socket = socket;
    const ended = new Promise<never>((_resolve, reject) => {
      socket.on("error", reject);
      socket.once("close", () => {
        reject(new Error(`the server closed the connection to ${target.host}:${target.port}`));
        link.onClose();
      });
    });
    const begun = new Promise<void>((resolve) =>
      socket.once(target.tls === undefined ? "connect" : "secureConnect", resolve),
    );
    await Promise.race([begun, ended]);
    // From now on whoever uses the link is told by `onClose`.
    ended.catch(() => {});
    if (target.webSocket) {
      const upgraded = new Promise<void>((resolve) => {
        let answer = "";
        take = (bytes) => {
          answer += bytes.toString("latin1");
          if (!answer.includes("\r\n\r\n")) return;
          if (!answer.startsWith("HTTP/1.1 101")) socket.destroy(new Error(answer.split("\r\n")[0]));
          const deframer = new Deframer((payload) => link.onBytes(payload));
          take = (frames) => deframer.take(frames);
          resolve();
        };
      });
      socket.write(upgradeRequest(target.host, target.port));
      await Promise.race([upgraded, ended]);
    }
    return link;
  }

  /** Sends some packets, in one system call where that is possible. They must not change until `done`. */
  write(packets: readonly Buffer[], done: () => void): void {
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) {
      done();
      return;
    }
    const [only] = packets;
    if (packets.length === 1 && only !== undefined && !this.#framed) {
      socket.write(only, done);
      return;
    }
    socket.cork();
    if (this.#framed) socket.write(frameHeader(packets.reduce((sum, { length }) => sum + length, 0)));
    for (const [index, packet] of packets.entries())
      if (index === packets.length - 1) socket.write(packet, done);
      else socket.write(packet);
    socket.uncork();
  }

  get resumed(): boolean {
    return this.#socket instanceof TLSSocket && this.#socket.isSessionReused();
  }

  /** Says that no more comes, and closes. */
  end(): void {
    this.#socket?.end();
    this.#socket?.destroySoon();
  }

  /** Reads nothing until `resume`. */
  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }
}

function connect(target: Target, take: (bytes: Buffer) => void, resumption: Resumption | undefined): Socket {
  const options = {
    host: target.host,
    port: target.port,
    noDelay: true,
    onread: {
      buffer: readBuffer,
      callback(length: number): boolean {
        take(readBuffer.subarray(0, length));
        return true;
      },
    },
  };
  if (target.tls === undefined) return connectTcp(options);
  const socket = connectTls({
    ...options,
    secureContext: contextFor(target.tls),
    rejectUnauthorized: target.tls.unverified !== true,
    // The certificate is checked; the name in it is not what is measured.
    checkServerIdentity: () => undefined,
    ...(resumption?.session === undefined ? {} : { session: resumption.session }),
  });
  if (resumption !== undefined) socket.on("session", resumption.onSession);
  return socket;
}
