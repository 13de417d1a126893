import { setTimeout as delay } from "node:timers/promises";

import { UsageError } from "../errors.ts";

/** No MQTT packet is larger, so no payload. @see MQTT 5.0 §2.1.4 */
export const payloadBytesMax = 268_435_455;

const lineFeed = 0x0a;

async function* chunksOf(input: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  for await (const chunk of input) {
    if (typeof chunk === "string") yield Buffer.from(chunk, "utf8");
    else if (chunk instanceof Uint8Array) yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
  }
}

function tooLong(what: string): UsageError {
  return new UsageError(`${what} has more than ${payloadBytesMax} bytes, which is more than MQTT can send`);
}

/** The whole of a stream. @throws {UsageError} when it is longer than a payload can be. */
export async function readWhole(input: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(input)) {
    bytes += chunk.length;
    if (bytes > payloadBytesMax) throw tooLong("standard input");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}

/**
 * The lines of a stream as they were written, without their line feeds; the last may lack one. Empty lines are left
 * out, as an empty retained message would clear the topic. Holds one line in memory.
 * @throws {UsageError} for a line that is longer than a payload can be.
 */
export async function* readLines(input: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  /** The beginning of a line whose end has not come. */
  let parts: Buffer[] = [];
  let partBytes = 0;
  for await (const chunk of chunksOf(input)) {
    let start = 0;
    for (let end = chunk.indexOf(lineFeed); end !== -1; end = chunk.indexOf(lineFeed, start)) {
      const rest = chunk.subarray(start, end);
      const line = parts.length === 0 ? rest : Buffer.concat([...parts, rest]);
      parts = [];
      partBytes = 0;
      start = end + 1;
      if (line.length > 0) yield line;
    }
    if (start === chunk.length) continue;
    parts.push(chunk.subarray(start));
    partBytes += chunk.length - start;
    if (partBytes > payloadBytesMax) throw tooLong("a line of standard input");
  }
  if (partBytes > 0) yield Buffer.concat(parts);
}

/** The same payload `count` times. */
export function* repeat(payload: Buffer, count: number): Generator<Buffer> {
  for (let index = 0; index < count; index++) yield payload;
}

/** The payloads, `intervalMs` after one another. */
export async function* spaced(
  payloads: AsyncIterable<Buffer> | Iterable<Buffer>,
  intervalMs: number,
): AsyncGenerator<Buffer> {
  let isFirst = true;
  for await (const payload of payloads) {
    if (!isFirst) await delay(intervalMs);
    isFirst = false;
    yield payload;
  }
}

/** The payloads, each made into another. */
export async function* mapped(
  payloads: AsyncIterable<Buffer> | Iterable<Buffer>,
  change: (payload: Buffer) => Promise<Buffer>,
): AsyncGenerator<Buffer> {
  for await (const payload of payloads) yield await change(payload);
}
