import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, open, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { errorCode, errorText } from "@postern/core/errors";

import { type CommandContext, type InputStream } from "../context.ts";
import { UsageError } from "../errors.ts";

/** The first chunk is small, for those who look only at the beginning; each is twice the one before, up to the longest. */
const chunkBytesMin = 16_384;
const chunkBytesMax = 262_144;

/** Time that a sniffer has for its last bytes when a recording is interrupted. */
const lastBytesMs = 1_000;

/** Called with bytes of the capture, valid until it returns, and how many bytes of the file were read since the last call. */
type OnChunk = (chunk: Uint8Array, fileBytes: number) => void;

/** A capture that can be read from its beginning again and again. */
export interface CaptureSource extends AsyncDisposable {
  /** Bytes of the file as it lies on disk. */
  readonly fileBytes: number;
  /** What ends the work on it: an interruption, unless that has ended the recording before. */
  readonly signal: AbortSignal;
  /**
   * Calls `onChunk` with the bytes of the capture, decompressed. Returns what ended them early, in a sentence, or
   * `undefined`: a broken compressed stream gives what comes before the break.
   */
  readonly read: (onChunk: OnChunk, signal: AbortSignal) => Promise<string | undefined>;
}

/**
 * The capture in `file`, or on stdin when it is `-`. What can be read only once, a pipe, is put down in a file that only we can read and
 * that goes away with the source; an interruption while it is recorded ends the recording, and what came is the capture. Throws `UsageError`
 * when it cannot be opened.
 */
export async function openCapture(
  file: string,
  context: Pick<CommandContext, "stdin" | "stderr" | "cwd">,
  signal: AbortSignal,
): Promise<CaptureSource> {
  if (file === "-") return spooled(context.stdin, context, signal);
  const path = resolve(context.cwd, file);
  if (await canBeReadAgain(path, file)) return fileSource(path, file, signal);
  return spooled(createReadStream(path), context, signal);
}

async function fileSource(path: string, name: string, signal: AbortSignal): Promise<CaptureSource> {
  const { magic, fileBytes } = await firstBytes(path, name);
  const isGzip = magic[0] === 0x1f && magic[1] === 0x8b;
  return {
    fileBytes,
    signal,
    read: (onChunk, until) => readChunks(path, isGzip, onChunk, until),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Whether it is a file and not a pipe. Throws `UsageError` when it is neither. */
async function canBeReadAgain(path: string, name: string): Promise<boolean> {
  try {
    const found = await stat(path);
    if (!found.isDirectory()) return found.isFile();
  } catch (thrown) {
    throw new UsageError(`cannot read ${name}: ${errorText(thrown)}`, { cause: thrown });
  }
  throw new UsageError(`cannot read ${name}: it is a directory`);
}

async function spooled(
  input: InputStream,
  context: Pick<CommandContext, "stderr">,
  signal: AbortSignal,
): Promise<CaptureSource> {
  const folder = await mkdtemp(join(tmpdir(), "postern-capture-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const path = join(folder, "capture");
    const isWhole = await record(input, path, signal);
    const source = await fileSource(path, "standard input", isWhole ? signal : new AbortController().signal);
    if (!isWhole && source.fileBytes === 0) signal.throwIfAborted();
    if (!isWhole) context.stderr.write("postern: recording ended; this is of what came until then\n");
    return { ...source, [Symbol.asyncDispose]: remove };
  } catch (thrown) {
    await remove();
    throw thrown;
  }
}

/** Writes what comes to a file; false when an interruption ended it. */
async function record(input: InputStream, path: string, signal: AbortSignal): Promise<boolean> {
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  // The key press that ends the sniffer as well has it write what it still holds.
  const stop = (): void => {
    timer = setTimeout(() => late.abort(), lastBytesMs);
  };
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  try {
    const { pipeline } = await import("node:stream/promises");
    await pipeline(input, createWriteStream(path, { mode: 0o600 }), { signal: late.signal });
  } catch (thrown) {
    if (!late.signal.aborted) throw thrown;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
  return !signal.aborted;
}

async function firstBytes(
  path: string,
  name: string,
): Promise<{ readonly magic: Uint8Array; readonly fileBytes: number }> {
  try {
    await using file = await open(path, "r");
    const bytes = new Uint8Array(2);
    const { bytesRead } = await file.read(bytes, 0, 2, 0);
    return { magic: bytes.subarray(0, bytesRead), fileBytes: (await file.stat()).size };
  } catch (thrown) {
    throw new UsageError(`cannot read ${name}: ${errorText(thrown)}`, { cause: thrown });
  }
}

function readChunks(
  path: string,
  isGzip: boolean,
  onChunk: OnChunk,
  signal: AbortSignal,
): Promise<string | undefined> {
  return isGzip ? readCompressed(path, onChunk, signal) : readPlain(path, onChunk, signal);
}

/** In one piece of memory that is used again: a new one for each chunk makes the engine collect all of its garbage. */
async function readPlain(path: string, onChunk: OnChunk, signal: AbortSignal): Promise<undefined> {
  await using file = await open(path, "r");
  const memory = new Uint8Array(chunkBytesMax);
  for (let wanted = chunkBytesMin; ; wanted = Math.min(2 * wanted, chunkBytesMax)) {
    const { bytesRead } = await file.read(memory, 0, wanted);
    signal.throwIfAborted();
    if (bytesRead === 0) return;
    onChunk(memory.subarray(0, bytesRead), bytesRead);
  }
}

async function readCompressed(
  path: string,
  onChunk: OnChunk,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { createGunzip } = await import("node:zlib");
  const file = createReadStream(path, { highWaterMark: chunkBytesMax, signal });
  const stream = file.pipe(createGunzip({ chunkSize: chunkBytesMax }));
  // `pipe` does not pass on errors of the file.
  file.on("error", (error) => stream.destroy(error));
  let reported = 0;
  stream.on("data", (chunk: Uint8Array) => {
    const since = file.bytesRead - reported;
    reported = file.bytesRead;
    onChunk(chunk, since);
  });
  try {
    await once(stream, "end");
    return undefined;
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    if (!(errorCode(thrown) ?? "").startsWith("Z_")) throw thrown;
    return `the compressed file is cut off or damaged (${errorText(thrown)})`;
  } finally {
    file.destroy();
  }
}
