import { mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { Store, UniqueMessageIdProvider, type IStore, type Packet } from "mqtt";

import { errorText } from "@postern/core/errors";
import type { QoS } from "@postern/mqtt/packets";

import { DeviceFileError } from "./errors.ts";
import { replacePrivateFile } from "./private-file.ts";

/** A message as its file has it; `released` when the server has it and only the end of QoS 2 is missing. */
interface Kept {
  readonly id: number;
  /** Files are sent again in this order. */
  readonly order: number;
  readonly released: boolean;
  readonly topic: string;
  readonly payload: string;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: unknown;
}

type Stored = Extract<Packet, { cmd: "publish" | "pubrel" }>;

function isKept(value: unknown): value is Kept {
  return (
    typeof value === "object" &&
    value !== null &&
    "id" in value &&
    typeof value.id === "number" &&
    "order" in value &&
    typeof value.order === "number" &&
    "topic" in value &&
    typeof value.topic === "string" &&
    "payload" in value &&
    typeof value.payload === "string"
  );
}

/**
 * What MQTT.js has sent, or is to send, and the server has not acknowledged: in memory, and one file for each message in a directory, so
 * that the next process sends it again, with the same packet identifier. A file is on disk before its message is sent.
 *
 * ```
 * publish ─► 17.json ─► PUBLISH ─► PUBACK ─► removed          (QoS 1)
 *                       PUBLISH ─► PUBREC ─► 17.json: released ─► PUBREL ─► PUBCOMP ─► removed   (QoS 2)
 * ```
 */
export class OutgoingStore implements IStore {
  readonly #directory: string;
  readonly #memory = new Store({ clean: false });
  readonly #kept = new Map<number, Kept>();
  #order = 0;

  /** @throws {DeviceFileError} when the directory cannot be used, or a file in it is damaged. */
  constructor(directory: string) {
    this.#directory = directory;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const kept = readdirSync(directory)
        .filter((name) => /^\d+\.json$/.test(name))
        .map((name) => this.#load(join(directory, name)));
      for (const each of kept.sort((a, b) => a.order - b.order)) {
        this.#order = each.order;
        this.#kept.set(each.id, each);
        this.#memory.put(packetOf(each), () => {});
      }
    } catch (thrown) {
      if (thrown instanceof DeviceFileError) throw thrown;
      throw new DeviceFileError(`cannot use the directory ${directory}: ${errorText(thrown)}`, {
        cause: thrown,
      });
    }
  }

  /** How many messages of former processes wait. */
  get size(): number {
    return this.#kept.size;
  }

  /** Gives no message the packet identifier of one that is kept. */
  packetIds(): UniqueMessageIdProvider {
    const provider = new UniqueMessageIdProvider();
    for (const id of this.#kept.keys()) provider.register(id);
    return provider;
  }

  #load(path: string): Kept {
    let value: unknown;
    try {
      value = JSON.parse(readFileSync(path, "utf8"));
    } catch (thrown) {
      throw new DeviceFileError(`${path} is damaged: ${errorText(thrown)}`, { cause: thrown });
    }
    if (isKept(value)) return value;
    throw new DeviceFileError(`${path} is no message that was kept`);
  }

  #path(id: number): string {
    return join(this.#directory, `${id}.json`);
  }

  put(packet: Packet, done: (error?: Error) => void): this {
    try {
      if (packet.cmd === "publish" || packet.cmd === "pubrel") this.#keep(packet);
    } catch (thrown) {
      done(thrown instanceof Error ? thrown : new Error(errorText(thrown)));
      return this;
    }
    this.#memory.put(packet, done);
    return this;
  }

  #keep(packet: Stored): void {
    const id = packet.messageId ?? 0;
    const before = this.#kept.get(id);
    const kept: Kept =
      packet.cmd === "publish"
        ? {
            id,
            order: before?.order ?? ++this.#order,
            released: false,
            topic: packet.topic,
            payload: Buffer.from(packet.payload).toString("base64"),
            qos: packet.qos,
            retain: packet.retain,
            properties: jsonOf(packet.properties),
          }
        : { ...(before ?? emptyKept(id, ++this.#order)), payload: "", released: true };
    replacePrivateFile(this.#path(id), `${JSON.stringify(kept)}\n`);
    this.#kept.set(id, kept);
  }

  del(packet: Pick<Packet, "messageId">, done: (error?: Error, packet?: Packet) => void): this {
    const id = packet.messageId ?? 0;
    if (this.#kept.delete(id)) rmSync(this.#path(id), { force: true });
    this.#memory.del(packet, done);
    return this;
  }

  get(packet: Pick<Packet, "messageId">, done: (error?: Error, packet?: Packet) => void): this {
    this.#memory.get(packet, done);
    return this;
  }

  createStream(): ReturnType<Store["createStream"]> {
    return this.#memory.createStream();
  }

  close(done: () => void): void {
    this.#memory.close(done);
  }
}

function emptyKept(id: number, order: number): Kept {
  return { id, order, released: true, topic: "", payload: "", qos: 2, retain: false, properties: {} };
}

/** Correlation data are bytes. */
function replacer(key: string, value: unknown): unknown {
  return key === "correlationData" && typeof value === "object" && value !== null && "data" in value
    ? { base64: Buffer.from(Array.isArray(value.data) ? value.data.map(Number) : []).toString("base64") }
    : value;
}

function jsonOf(properties: unknown): unknown {
  return JSON.parse(JSON.stringify(properties ?? {}, replacer));
}

function packetOf({ id, released, topic, payload, qos, retain, properties }: Kept): Packet {
  if (released) return { cmd: "pubrel", messageId: id };
  return {
    cmd: "publish",
    messageId: id,
    topic,
    payload: Buffer.from(payload, "base64"),
    qos,
    retain,
    // It may have been sent before. @see MQTT 5.0 §3.3.1.1
    dup: true,
    properties: propertiesOf(properties),
  };
}

function propertiesOf(properties: unknown): Record<string, unknown> {
  if (typeof properties !== "object" || properties === null) return {};
  return Object.fromEntries(
    Object.entries(properties).map(([name, value]: [string, unknown]) => {
      const isBytes = typeof value === "object" && value !== null && "base64" in value;
      return [name, isBytes ? Buffer.from(String(value.base64), "base64") : value];
    }),
  );
}
