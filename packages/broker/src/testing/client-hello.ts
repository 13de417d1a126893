import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";

/** A ClientHello to be made byte by byte: what no TLS library would offer any more, too. */
export interface Hello {
  /** The highest version offered: 0x0301 (TLS 1.0) to 0x0304 (TLS 1.3). */
  readonly version: number;
  readonly suites: readonly number[];
  readonly groups?: readonly number[];
  /** Methods of compression; 0, which is none, unless given. */
  readonly compressions?: readonly number[];
}

/** What a server answers. `group` is the one it asks a key share of (HelloRetryRequest, TLS 1.3). */
export type HelloAnswer =
  | {
      readonly kind: "server-hello";
      readonly version: number;
      readonly suite: number;
      readonly compression: number;
      readonly group: number | undefined;
    }
  | { readonly kind: "alert"; readonly description: number }
  | { readonly kind: "closed" };

/** X25519MLKEM768, X25519, P-256, P-384, P-521. @see RFC 8446 §4.2.7 */
const everyGroup = [0x11ec, 0x001d, 0x0017, 0x0018, 0x0019];
/** ECDSA and RSA with SHA-2 and SHA-1. @see RFC 8446 §4.2.3 */
const everySignature = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0203, 0x0201];

function u16(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, index * 2);
  return bytes;
}

function block(lengthBytes: 1 | 2 | 3, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(lengthBytes);
  length.writeUIntBE(body.length, 0, lengthBytes);
  return Buffer.concat([length, body]);
}

function extension(type: number, ...parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat([u16(type), block(2, ...parts)]);
}

/** The record. @see RFC 8446 §4.1.2, RFC 5246 §7.4.1.2 */
export function clientHello({ version, suites, groups = everyGroup, compressions = [0] }: Hello): Buffer {
  const old = Math.min(version, 0x0303);
  const extensions = [
    extension(10, block(2, u16(...groups))),
    extension(11, Buffer.of(1, 0)),
    extension(13, block(2, u16(...everySignature))),
    extension(23),
    // Without a key share, so that the server has to name the group that it wants.
    ...(version < 0x0304 ? [] : [extension(43, Buffer.of(2), u16(version)), extension(51, u16(0))]),
  ];
  const body = Buffer.concat([
    u16(old),
    randomBytes(32),
    block(1, version < 0x0304 ? Buffer.alloc(0) : randomBytes(32)),
    block(2, u16(...suites)),
    block(1, Buffer.from(compressions)),
    block(2, ...extensions),
  ]);
  const message = Buffer.concat([Buffer.of(1), block(3, body)]);
  return Buffer.concat([Buffer.of(0x16, 3, 1), block(2, message)]);
}

function decodeServerHello(body: Buffer): HelloAnswer {
  const idBytes = body.readUInt8(34);
  let offset = 35 + idBytes;
  const suite = body.readUInt16BE(offset);
  const compression = body.readUInt8(offset + 2);
  offset += 3;
  let version = body.readUInt16BE(0);
  let group: number | undefined;
  const end = offset + 2 + (offset + 2 <= body.length ? body.readUInt16BE(offset) : 0);
  offset += 2;
  while (offset + 4 <= end) {
    const type = body.readUInt16BE(offset);
    if (type === 43) version = body.readUInt16BE(offset + 4);
    if (type === 51) group = body.readUInt16BE(offset + 4);
    offset += 4 + body.readUInt16BE(offset + 2);
  }
  return { kind: "server-hello", version, suite, compression, group };
}

function decodeAnswer(bytes: Buffer): HelloAnswer {
  if (bytes.length < 7) return { kind: "closed" };
  if (bytes[0] === 0x15) return { kind: "alert", description: bytes.readUInt8(6) };
  return decodeServerHello(bytes.subarray(9, 9 + bytes.readUIntBE(6, 3)));
}

/** Sends one ClientHello and says what came back. */
export async function offer(port: number, hello: Hello): Promise<HelloAnswer> {
  const socket = connect({ host: "127.0.0.1", port });
  const chunks: Buffer[] = [];
  let length = 0;
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    const bytes = Buffer.concat(chunks);
    if (length >= 7 && length >= 5 + bytes.readUInt16BE(3)) socket.destroy();
  });
  socket.write(clientHello(hello));
  await once(socket, "close");
  return decodeAnswer(Buffer.concat(chunks));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

/** Every number that a cipher suite of TLS 1.2 and before was ever given, the insecure ones first. */
export const everySuite = [
  ...range(0x0000, 0x00c7),
  ...range(0xc001, 0xc0b5),
  ...range(0xcca8, 0xccae),
  ...range(0xd001, 0xd005),
];

/** What the server would choose of `suites`, in its order: it is asked again without what it chose, until it refuses. */
export async function chosenSuites(port: number, hello: Hello): Promise<number[]> {
  const chosen: number[] = [];
  for (;;) {
    const left = hello.suites.filter((suite) => !chosen.includes(suite));
    const answer = left.length === 0 ? undefined : await offer(port, { ...hello, suites: left });
    if (answer?.kind !== "server-hello") return chosen;
    chosen.push(answer.suite);
  }
}
