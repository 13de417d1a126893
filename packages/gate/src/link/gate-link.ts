import { chmodSync, renameSync, rmSync, statSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";

import { errorText } from "@postern/core/errors";
import type { Log } from "@postern/core/log";

import { GateLinkError } from "../errors.ts";
import { LineChannel } from "./line-channel.ts";
import {
  linkProtocol,
  toGateSchema,
  type Answer,
  type FromGateInput,
  type OperatorRequest,
  type ToGate,
} from "./messages.ts";

/** Conversations at once: one broker, some operators. */
const channelsMax = 16;
/** Who connects says hello within this time. */
const helloMs = 5_000;
/** How long a broker may take to say that it knows of a window. */
const acknowledgeMs = 2_000;

export type BrokerMessage = Exclude<ToGate, { kind: "hello" | "request" | "acknowledge" }>;

/** What the gate does with what it is told. */
export interface GateLinkHandler {
  /** A broker is there: what it must know is to be sent again. It tells anew which devices there are and who is connected. */
  brokerCame(): void;
  brokerLeft(): void;
  told(message: BrokerMessage): void;
  asked(request: OperatorRequest): Answer | Promise<Answer>;
}

/** The gate's end of its Unix socket. */
export class GateLink implements AsyncDisposable {
  static #count = 0;
  readonly #log: Log;
  readonly #handler: GateLinkHandler;
  readonly #server: Server;
  readonly #channels = new Set<LineChannel>();
  readonly #waiting = new Map<number, (known: boolean) => void>();
  #broker: LineChannel | undefined;
  /** Where it listens, and as which file: a gate that comes after may have put its own in the place. */
  #place: { readonly path: string; readonly inode: number } | undefined;

  private constructor(handler: GateLinkHandler, log: Log) {
    this.#handler = handler;
    this.#log = log;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /**
   * Listens; only the owner of the process can connect. The file of a gate before is replaced in one step, whether it is dead or closes late.
   * @throws {GateLinkError}
   */
  static async listen(path: string, handler: GateLinkHandler, log: Log): Promise<GateLink> {
    const link = new GateLink(handler, log);
    // Whoever closes a socket removes the name that it was bound to, by then perhaps that of another.
    const own = join(dirname(path), `g${process.pid.toString(36)}.${GateLink.#count++}`);
    const mask = process.umask(0o177);
    try {
      rmSync(own, { force: true });
      await new Promise<void>((resolve, reject) => {
        link.#server.once("error", reject);
        link.#server.listen(own, resolve);
      });
      chmodSync(own, 0o600);
      renameSync(own, path);
      link.#place = { path, inode: statSync(path).ino };
    } catch (thrown) {
      throw new GateLinkError(`cannot listen on the gate's socket ${path}: ${errorText(thrown)}`, {
        cause: thrown,
      });
    } finally {
      process.umask(mask);
    }
    return link;
  }

  get hasBroker(): boolean {
    return this.#broker !== undefined;
  }

  /** Tells the broker, when there is one. */
  tell(message: FromGateInput): boolean {
    return this.#broker?.send(message) ?? false;
  }

  /** Tells the broker of a window and waits until it says that it knows. @returns false when it does not in time, or is not there. */
  announce(message: Extract<FromGateInput, { kind: "window" }>): Promise<boolean> {
    if (!this.tell(message)) return Promise.resolve(false);
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#acknowledged(message.id, false), acknowledgeMs);
      this.#waiting.set(message.id, (known) => {
        clearTimeout(timer);
        resolve(known);
      });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const channel of this.#channels) channel.end("does not read");
    await closed;
    this.#removeFile();
  }

  #removeFile(): void {
    const { path, inode } = this.#place ?? {};
    if (path !== undefined && statSync(path, { throwIfNoEntry: false })?.ino === inode)
      rmSync(path, { force: true });
  }

  #acknowledged(id: number, known: boolean): void {
    this.#waiting.get(id)?.(known);
    this.#waiting.delete(id);
  }

  #accept(socket: Socket): void {
    if (this.#channels.size >= channelsMax) {
      socket.destroy();
      return;
    }
    let role: "broker" | "operator" | undefined;
    const channel: LineChannel = new LineChannel(
      socket,
      (value) => {
        const message = toGateSchema.safeParse(value);
        if (!message.success) {
          this.#log.warn(
            { role },
            "a message on the gate's socket is not of this version; its sender is cut off",
          );
          channel.end("not JSON");
        } else if (role === undefined) {
          role = this.#hello(channel, message.data);
        } else {
          this.#receive(channel, role, message.data);
        }
      },
      (why) => {
        this.#channels.delete(channel);
        if (why !== "closed") this.#log.debug({ role, why }, "the gate's socket: a conversation was cut off");
        if (this.#broker === channel) this.#leave();
      },
    );
    this.#channels.add(channel);
    setTimeout(() => {
      if (role === undefined) channel.end("does not read");
    }, helloMs).unref();
  }

  #hello(channel: LineChannel, message: ToGate): "broker" | "operator" | undefined {
    if (message.kind !== "hello") {
      channel.end("not JSON");
      return undefined;
    }
    channel.send({ kind: "welcome", protocol: linkProtocol });
    if (message.protocol !== linkProtocol) {
      this.#log.error(
        { theirs: message.protocol, ours: linkProtocol },
        "gate and broker are of different versions",
      );
      channel.end("closed");
      return undefined;
    }
    if (message.role === "broker") {
      // The old one is dead and has not been noticed yet, or the new one would not be started.
      this.#broker?.end("does not read");
      this.#broker = channel;
      this.#handler.brokerCame();
    }
    return message.role;
  }

  #receive(channel: LineChannel, role: "broker" | "operator", message: ToGate): void {
    if (message.kind === "request" && role === "operator") {
      void this.#answer(channel, message.id, message.request);
    } else if (message.kind === "hello" || message.kind === "request" || role === "operator") {
      channel.end("not JSON");
    } else if (message.kind === "acknowledge") {
      this.#acknowledged(message.id, true);
    } else {
      this.#handler.told(message);
    }
  }

  async #answer(channel: LineChannel, id: number, request: OperatorRequest): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.#handler.asked(request);
    } catch (thrown) {
      answer = { kind: "failed", message: errorText(thrown) };
    }
    channel.send({ kind: "answer", id, answer } satisfies FromGateInput);
  }

  #leave(): void {
    this.#broker = undefined;
    for (const id of this.#waiting.keys()) this.#acknowledged(id, false);
    this.#handler.brokerLeft();
  }
}
