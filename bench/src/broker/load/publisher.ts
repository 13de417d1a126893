import type { LoadClient } from "./client.ts";
import type { PublishForm } from "./packets.ts";

/** As much as one write takes. */
const blockBytes = 131_072;

interface Block {
  readonly bytes: Buffer;
  readonly view: DataView;
}

/** Sends one PUBLISH again and again: many in one block, built once, in which only time and packet identifiers change. */
export class Publisher {
  readonly client: LoadClient;
  readonly #form: PublishForm;
  /** The most messages of one block. */
  readonly #capacity: number;
  readonly #free: Block[] = [];
  #packetId = 0;

  constructor(client: LoadClient, form: PublishForm, window: number) {
    this.client = client;
    this.#form = form;
    this.#capacity = Math.max(1, Math.min(window, Math.floor(blockBytes / form.bytes.length)));
  }

  /** Sends so many messages, or as many as one block has; how many those were. */
  send(wanted: number, nowMs: number): number {
    const count = Math.min(wanted, this.#capacity);
    const block = count > 0 ? (this.#free.pop() ?? this.#newBlock()) : undefined;
    if (block === undefined) {
      this.client.flush(undefined, () => {});
      return 0;
    }
    const { bytes, packetIdOffset, payloadOffset } = this.#form;
    for (let index = 0; index < count; index += 1) {
      const start = index * bytes.length;
      block.view.setFloat64(start + payloadOffset, nowMs, true);
      if (packetIdOffset > 0) block.view.setUint16(start + packetIdOffset, this.#nextPacketId());
    }
    this.client.flush(block.bytes.subarray(0, count * bytes.length), () => {
      this.#free.push(block);
    });
    return count;
  }

  #nextPacketId(): number {
    this.#packetId = this.#packetId === 65_535 ? 1 : this.#packetId + 1;
    return this.#packetId;
  }

  #newBlock(): Block {
    const { bytes } = this.#form;
    const block = Buffer.allocUnsafeSlow(bytes.length * this.#capacity);
    for (let index = 0; index < this.#capacity; index += 1) block.set(bytes, index * bytes.length);
    return { bytes: block, view: new DataView(block.buffer, block.byteOffset, block.length) };
  }
}
