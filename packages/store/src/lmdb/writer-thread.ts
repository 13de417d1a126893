import { dirname } from "node:path";
import { parentPort, workerData } from "node:worker_threads";

import { errorText } from "@postern/core/errors";
import type { RootDatabase } from "lmdb";

import { isNoRoom } from "../explain-system-error.ts";
import { openLmdb } from "./database.ts";
import { forEachRow } from "./row-reader.ts";
import { runGuarded } from "./thread-guard.ts";
import type { WriterJob, WriterRequest, WriterResponse } from "./writer.ts";

/*
 * The thread that writes. One request is one LMDB transaction: it is on disk, whole, before the answer is sent, or
 * the database is as it was and the rows go back to be tried again.
 */

function main(): void {
  const port = parentPort;
  const job: unknown = workerData;
  if (port === null || !isWriterJob(job)) throw new TypeError("the writer thread is given a job");
  const { file, flags } = job;
  const database = runGuarded(flags, () => openLmdb(file));
  if (database === undefined) return;
  port.on("message", (request: WriterRequest) => {
    if (request.kind === "close") {
      void database.close().then(() => port.close());
      return;
    }
    const response = runGuarded(flags, () => write(database, request.chunks, dirname(file)));
    if (response === undefined) return;
    const transfer = response.kind === "failed" ? response.chunks.map((chunk) => chunk.buffer) : [];
    port.postMessage(response, transfer);
  });
  port.postMessage({ kind: "ready" } satisfies WriterResponse);
}

function isWriterJob(data: unknown): data is WriterJob {
  return typeof data === "object" && data !== null && "file" in data && "flags" in data;
}

function write(
  database: RootDatabase<Buffer, Buffer>,
  chunks: Uint8Array<ArrayBuffer>[],
  directory: string,
): WriterResponse {
  const sink = {
    put: (key: Buffer, value: Buffer) => database.putSync(key, value),
    delete: (key: Buffer) => database.removeSync(key),
  };
  try {
    database.transactionSync(() => {
      for (const chunk of chunks)
        forEachRow(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength), sink);
    });
    return { kind: "written" };
  } catch (error) {
    return { kind: "failed", full: isNoRoom(error, directory), reason: errorText(error), chunks };
  }
}

main();
