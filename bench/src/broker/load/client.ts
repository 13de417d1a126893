import type { Target } from "./job.ts";
import { Link, type Resumption } from "./link.ts";
import { connectPacket, disconnectPacket, subscribePacket, type Version } from "./packets.ts";

/** Who is told what a client receives. */
export interface ClientOwner {
  /** A message: where its payload begins in `bytes`. */
  onPublish(client: LoadClient, bytes: Buffer, payloadStart: number): void;
  /** A message of the client's own is acknowledged: by PUBACK or PUBCOMP. */
  onAcknowledged(client: LoadClient): void;
  /** The client has something to send, for the end of the turn. */
  onOutput(client: LoadClient): void;
}

/** For clients whose messages nobody looks at. */
export const unheard: ClientOwner = {
  onPublish() {},
  onAcknowledged() {},
  onOutput: (client) => client.flush(undefined, () => {}),
};

/** Acknowledgements are gathered here while the bytes of one read are looked at. */
const answers = Buffer.allocUnsafeSlow(524_288);

/** An MQTT client that does the least that the protocol asks of it, and trusts the server to keep to it. */
export class LoadClient {
  readonly index: number;
  readonly version: Version;
  readonly #owner: ClientOwner;
  readonly #link: Link;
  #rest: Buffer | undefined;
  #answersLength = 0;
  #output: Buffer[] = [];
  #onAnswer: { readonly type: number; readonly take: (body: Buffer) => void } | undefined;
  #ended = false;
  #onEnd: () => void = () => {};
  /** Own messages of QoS 1 and 2 that are not acknowledged, and own messages that were not delivered to all. */
  unacknowledged = 0;
  undelivered = 0;
  queued = false;

  private constructor(owner: ClientOwner, link: Link, index: number, version: Version) {
    this.#owner = owner;
    this.#link = link;
    this.index = index;
    this.version = version;
    link.onBytes = (bytes) => this.#take(bytes);
    link.onClose = () => {
      this.#ended = true;
      this.#onEnd();
    };
  }

  static async open(
    owner: ClientOwner,
    options: {
      readonly target: Target;
      readonly index: number;
      readonly version: Version;
      readonly clientId: string;
      readonly clean?: boolean;
      readonly resumption?: Resumption;
    },
  ): Promise<LoadClient> {
    const { target, index, version, clientId, clean = true, resumption } = options;
    const link = await Link.open(target, resumption);
    const client = new LoadClient(owner, link, index, version);
    if (target.speaks === "relay") return client;
    const answer = client.#expect(2);
    link.write([connectPacket({ version, clientId, clean })], () => {});
    const connack = await answer;
    if (connack[1] !== 0) throw new Error(`CONNACK refuses ${clientId} with code ${connack[1]}`);
    return client;
  }

  /** The TLS session was taken up from an earlier connection. */
  get resumed(): boolean {
    return this.#link.resumed;
  }

  get ended(): boolean {
    return this.#ended;
  }

  async subscribe(filters: readonly string[], qos: number): Promise<void> {
    const answer = this.#expect(9);
    this.#link.write([subscribePacket(this.version, filters, qos)], () => {});
    const suback = await answer;
    const codes = suback.subarray(this.version < 5 ? 2 : 3);
    if (codes.some((code) => code > 2)) throw new Error(`SUBACK refuses a filter of ${filters[0]}`);
  }

  /** Sends what was gathered, and `block` after it. */
  flush(block: Buffer | undefined, done: () => void): void {
    const packets = this.#output;
    this.#output = [];
    if (block !== undefined) packets.push(block);
    if (packets.length > 0) this.#link.write(packets, done);
  }

  send(bytes: Buffer): void {
    this.#link.write([bytes], () => {});
  }

  pause(): void {
    this.#link.pause();
  }

  resume(): void {
    this.#link.resume();
  }

  /** DISCONNECT; resolves when the connection is gone. */
  async close(speaks: Target["speaks"]): Promise<void> {
    if (this.#ended) return;
    const ended = new Promise<void>((resolve) => (this.#onEnd = resolve));
    if (speaks === "mqtt") this.#link.write([disconnectPacket], () => {});
    this.#link.resume();
    this.#link.end();
    await ended;
  }

  #expect(type: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#onAnswer = { type, take: resolve };
      this.#onEnd = () => reject(new Error("the server closed the connection"));
    });
  }

  #take(bytes: Buffer): void {
    const all = this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes]);
    const taken = this.#consume(all);
    this.#rest = taken === all.length ? undefined : Buffer.from(all.subarray(taken));
    if (this.#answersLength === 0) return;
    this.#output.push(Buffer.from(answers.subarray(0, this.#answersLength)));
    this.#answersLength = 0;
    this.#owner.onOutput(this);
  }

  /** Handles the packets that are complete; how many bytes they are. */
  #consume(bytes: Buffer): number {
    const end = bytes.length;
    let start = 0;
    while (end - start >= 2) {
      let length = 0;
      let at = start + 1;
      for (let shift = 0; ; shift += 7) {
        if (at >= end) return start;
        const byte = bytes[at] ?? 0;
        at += 1;
        length |= (byte & 127) << shift;
        if (byte < 128) break;
      }
      if (end - at < length) return start;
      this.#handle(bytes, bytes[start] ?? 0, at, at + length);
      start = at + length;
    }
    return start;
  }

  #handle(bytes: Buffer, first: number, start: number, end: number): void {
    const type = first >> 4;
    switch (type) {
      case 3:
        this.#publish(bytes, (first >> 1) & 3, start);
        return;
      case 4:
      case 7:
        this.#owner.onAcknowledged(this);
        return;
      case 5:
        this.#answer(0x62, bytes, start);
        return;
      case 6:
        this.#answer(0x70, bytes, start);
        return;
    }
    if (this.#onAnswer?.type !== type) return;
    const { take } = this.#onAnswer;
    this.#onAnswer = undefined;
    take(Buffer.from(bytes.subarray(start, end)));
  }

  #publish(bytes: Buffer, qos: number, start: number): void {
    let at = start + 2 + (((bytes[start] ?? 0) << 8) | (bytes[start + 1] ?? 0));
    if (qos > 0) {
      this.#answer(qos === 1 ? 0x40 : 0x50, bytes, at);
      at += 2;
    }
    // Properties of a message are never as long as to need two bytes of length here.
    if (this.version === 5) at += 1 + (bytes[at] ?? 0);
    this.#owner.onPublish(this, bytes, at);
  }

  #answer(type: number, bytes: Buffer, packetIdAt: number): void {
    const at = this.#answersLength;
    answers[at] = type;
    answers[at + 1] = 2;
    answers[at + 2] = bytes[packetIdAt] ?? 0;
    answers[at + 3] = bytes[packetIdAt + 1] ?? 0;
    this.#answersLength = at + 4;
  }
}
