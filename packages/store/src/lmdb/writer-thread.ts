import { dirname } from "node:path";
import { parentPort, workerData } from "node:worker_threads";

import { errorText } from "@postern/core/errors";
import type { RootDatabase } from "lmdb";

import { isNoRoom } from "../explain-system-error.ts";
import { openLmdb } from "./database.ts";
import { forEachRow } from "./row-reader.ts";
import type { WriterRequest, WriterResponse } from "./writer.ts";

/*
 * The thread that writes. One request is one LMDB transaction: it is on disk, whole, before the answer is sent, or
 * the database is as it was and the rows go back to be tried again.
 */

function main(): void {
  const port = parentPort;
  const file: unknown = workerData;
  if (port === null || typeof file !== "string")
    throw new TypeError("the writer thread is given a file name");
  const database = openLmdb(file);
  port.on("message", (request: WriterRequest) => {
    if (request.kind === "close") {
      void database.close().then(() => port.close());
      return;
    }
    const response = write(database, request.chunks, dirname(file));
    const transfer = response.kind === "failed" ? response.chunks.map((chunk) => chunk.buffer) : [];
    port.postMessage(response, transfer);
  });
  port.postMessage({ kind: "ready" } satisfies WriterResponse);
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
