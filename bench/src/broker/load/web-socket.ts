import { randomBytes } from "node:crypto";

/** The request that opens a WebSocket for MQTT. @see MQTT 5.0 §6 */
export function upgradeRequest(host: string, port: number): string {
  return [
    "GET /mqtt HTTP/1.1",
    `Host: ${host}:${port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Protocol: mqtt",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    "\r\n",
  ].join("\r\n");
}

/**
 * The header of a frame with `bytes` of payload. Clients must mask; with a mask of zeros nothing is left to do for
 * the load generator, and everything for the server. @see RFC 6455 §5.2
 */
export function frameHeader(bytes: number): Buffer {
  const opcode = 0x82;
  const masked = 0x80;
  if (bytes < 126) return Buffer.from([opcode, masked | bytes, 0, 0, 0, 0]);
  if (bytes < 65_536) return Buffer.from([opcode, masked | 126, bytes >> 8, bytes & 255, 0, 0, 0, 0]);
  const header = Buffer.alloc(14);
  header.set([opcode, masked | 127]);
  header.writeBigUInt64BE(BigInt(bytes), 2);
  return header;
}

const headerBytesMax = 10;

/** Takes the frames off what a server sends. What stands in control frames is skipped. */
export class Deframer {
  readonly #onBytes: (bytes: Buffer) => void;
  readonly #header = Buffer.alloc(headerBytesMax);
  #headerLength = 0;
  #left = 0;
  #isData = false;

  constructor(onBytes: (bytes: Buffer) => void) {
    this.#onBytes = onBytes;
  }

  take(bytes: Buffer): void {
    let offset = 0;
    while (offset < bytes.length) {
      if (this.#left === 0) {
        this.#header[this.#headerLength] = bytes[offset] ?? 0;
        this.#headerLength += 1;
        offset += 1;
        this.#readHeader();
        continue;
      }
      const end = Math.min(bytes.length, offset + this.#left);
      if (this.#isData) this.#onBytes(bytes.subarray(offset, end));
      this.#left -= end - offset;
      offset = end;
    }
  }

  #readHeader(): void {
    if (this.#headerLength < 2) return;
    const [first = 0, second = 0] = this.#header;
    const wanted = second === 127 ? 10 : second === 126 ? 4 : 2;
    if (this.#headerLength < wanted) return;
    this.#left =
      wanted === 10
        ? Number(this.#header.readBigUInt64BE(2))
        : wanted === 4
          ? this.#header.readUInt16BE(2)
          : second;
    this.#isData = (first & 0x0f) < 8;
    this.#headerLength = 0;
  }
}
