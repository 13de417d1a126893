import { connect, type Socket } from "node:net";

import { decodeAck } from "@postern/mqtt/acks";
import { decodeConnack } from "@postern/mqtt/connack";
import { checkPing, decodeAuth, decodeDisconnect } from "@postern/mqtt/control";
import { createFrame, fixedHeaderFlagsValid, FrameResult, readFrame } from "@postern/mqtt/frame";
import { type Decoded, malformed, type Malformed, protocolError } from "@postern/mqtt/malformed";
import {
  type AckPacket,
  type ConnackPacket,
  PacketType,
  type Properties,
  type ProtocolVersion,
  type QoS,
  type ReasonPacket,
  type SubackPacket,
} from "@postern/mqtt/packets";
import { createPublishView, decodePublish, decodeTopicName } from "@postern/mqtt/publish";
import { decodeSuback, decodeUnsuback } from "@postern/mqtt/subscribe";

/** The longest packet that MQTT can tell of. */
const packetBytesMax = 268_435_460;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ReceivedPublish {
  /** Empty when an alias stands for it. */
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: number;
  readonly properties: Readonly<Properties>;
}

/** A packet from the server. */
export type Received =
  | ({ readonly kind: "connack" } & ConnackPacket)
  | ({ readonly kind: "publish" } & ReceivedPublish)
  | ({ readonly kind: "puback" | "pubrec" | "pubrel" | "pubcomp" } & AckPacket)
  | ({ readonly kind: "suback" | "unsuback" } & SubackPacket)
  | ({ readonly kind: "disconnect" | "auth" } & ReasonPacket)
  | { readonly kind: "pingresp" };

/** What a `WireClient` tells its owner. */
export interface WireHandler {
  onReceived(packet: Received, bytes: Buffer): void;
  /** The server sent what no server may send; nothing more is read. */
  onUnreadable(reason: string, bytes: Buffer): void;
  /** The connection is gone, or could not be made. */
  onClose(): void;
}

/** One connection to a server: sends the bytes it is given, decodes what comes, and does nothing by itself. */
export class WireClient {
  /** What the server's packets are read as: the version that CONNECT named. */
  version: ProtocolVersion;
  readonly socket: Socket;
  readonly #handler: WireHandler;
  readonly #frame = createFrame();
  #rest: Buffer = Buffer.alloc(0);
  #stopped = false;
  /** Resolves when the connection is gone. */
  readonly closed: Promise<undefined>;

  constructor(address: Address, version: ProtocolVersion, handler: WireHandler) {
    this.version = version;
    this.#handler = handler;
    this.socket = connect({ ...address, noDelay: true });
    this.socket.on("data", (bytes: Buffer) => this.#take(bytes));
    // "close" follows.
    this.socket.on("error", () => {});
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.closed = promise;
    this.socket.once("close", () => {
      resolve(undefined);
      handler.onClose();
    });
  }

  send(bytes: Uint8Array): void {
    if (!this.socket.destroyed && !this.socket.writableEnded) this.socket.write(bytes);
  }

  /** Says that no more comes, and still reads. */
  end(): void {
    this.socket.end();
  }

  /** Cuts the connection; nothing that comes after this is read. */
  destroy(): void {
    this.#stopped = true;
    this.socket.destroy();
  }

  #take(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (!this.#stopped) {
      const result = readFrame(bytes, 0, bytes.length, packetBytesMax, this.#frame, this.version);
      if (result === FrameResult.incomplete) break;
      if (result !== FrameResult.complete) {
        this.#fail("the packet's type or length cannot be", bytes);
        return;
      }
      const whole = bytes.subarray(0, this.#frame.bodyEnd);
      bytes = bytes.subarray(this.#frame.bodyEnd);
      this.#readPacket(whole);
    }
    this.#rest = bytes;
  }

  #readPacket(bytes: Buffer): void {
    const { type, flags } = this.#frame;
    if (!fixedHeaderFlagsValid(type, flags)) {
      this.#fail(`packet type ${type} with the flags ${flags}`, bytes);
      return;
    }
    const received = type === PacketType.publish ? this.#readPublish(bytes) : this.#readOther(bytes, type);
    if (received.kind === "malformed") this.#fail(received.reason, bytes);
    else this.#handler.onReceived(received, bytes);
  }

  #readPublish(bytes: Buffer): Received | Malformed {
    const view = createPublishView();
    const problem = decodePublish(bytes, this.#frame, this.version, view);
    if (problem !== undefined) return problem;
    const { topicStart, topicEnd, qos, retain, dup, packetId, properties } = view;
    const topic = topicStart === topicEnd ? "" : decodeTopicName(bytes, topicStart, topicEnd);
    if (topic === undefined) return malformed("a PUBLISH from the server has a bad topic name");
    const payload = bytes.subarray(view.payloadStart, view.payloadEnd);
    return { kind: "publish", topic, payload, qos, retain, dup, packetId, properties };
  }

  #readOther(bytes: Buffer, type: number): Received | Malformed {
    const { bodyStart: start, bodyEnd: end } = this.#frame;
    const { version } = this;
    switch (type) {
      case PacketType.connack:
        return named("connack", decodeConnack(bytes, start, end, version));
      case PacketType.puback:
        return named("puback", decodeAck(bytes, start, end, type, version));
      case PacketType.pubrec:
        return named("pubrec", decodeAck(bytes, start, end, type, version));
      case PacketType.pubrel:
        return named("pubrel", decodeAck(bytes, start, end, type, version));
      case PacketType.pubcomp:
        return named("pubcomp", decodeAck(bytes, start, end, type, version));
      case PacketType.suback:
        return named("suback", decodeSuback(bytes, start, end, version));
      case PacketType.unsuback:
        return named("unsuback", decodeUnsuback(bytes, start, end, version));
      case PacketType.pingresp:
        return checkPing(start, end) ?? { kind: "pingresp" };
      case PacketType.disconnect:
        if (version < 5) return protocolError("DISCONNECT from a server exists in MQTT 5 only");
        return named("disconnect", decodeDisconnect(bytes, start, end, version));
      case PacketType.auth:
        return named("auth", decodeAuth(bytes, start, end, version));
      default:
        return protocolError(`packet type ${type} comes from clients only`);
    }
  }

  #fail(reason: string, bytes: Buffer): void {
    this.destroy();
    this.#handler.onUnreadable(reason, bytes);
  }
}

function named<K extends string, T extends object>(
  kind: K,
  decoded: Decoded<T>,
): ({ readonly kind: K } & T) | Malformed {
  return decoded.kind === "value" ? { ...decoded.value, kind } : decoded;
}
