import { existsSync } from "node:fs";

import { request } from "@postern/broker/http";
import { errorCode, errorText } from "@postern/core/errors";
import { dataDirectoryAt, isDataDirectory, type DataDirectory } from "@postern/identity/data-directory";
import { DataDirectoryError } from "@postern/identity/errors";
import type { z } from "zod";

import { CliError, ExitCode } from "../errors.ts";
import { adminErrorSchema } from "./protocol.ts";
import { adminSocketPath } from "./socket-path.ts";

/** No server runs on a data directory, or there is no such directory. */
export class NotRunningError extends CliError {
  readonly code = "NOT_RUNNING";
  readonly exitCode = ExitCode.unreachable;
}

/** The running server could not do what was asked. */
export class AdminError extends CliError {
  readonly code = "ADMIN_REQUEST";
  readonly exitCode = ExitCode.failed;
}

/** A data directory that exists. @throws {NotRunningError} when there is none at `path`. */
export function existingDataDirectory(path: string): DataDirectory {
  try {
    if (isDataDirectory(path)) return dataDirectoryAt(path);
  } catch (thrown) {
    if (thrown instanceof DataDirectoryError) throw new NotRunningError(thrown.message, { cause: thrown });
    throw thrown;
  }
  throw new NotRunningError(
    existsSync(path)
      ? `${path} is not a data directory of Postern: name it with --data`
      : `there is no data directory ${path}: name it with --data, or make it with \`postern up\``,
  );
}

/** A backup of a large state takes its time; everything else answers at once. */
const timeoutMs = 600_000;

/** One request to the running server of a data directory. */
export interface AdminRequest<T> {
  readonly method: "GET" | "PUT" | "POST";
  readonly path: string;
  readonly body?: object;
  /** What the answer must look like. */
  readonly answer: z.ZodType<T>;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function exchange(socketPath: string, { method, path, body }: AdminRequest<unknown>): Promise<Answer> {
  const text = body === undefined ? "" : JSON.stringify(body);
  const headers =
    body === undefined
      ? {}
      : { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, headers, timeout: timeoutMs }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }),
      );
    });
    sent.on("error", reject);
    sent.on("timeout", () => sent.destroy(new Error(`no answer within ${timeoutMs / 1000} seconds`)));
    sent.end(text);
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What `connect` says when nobody listens. */
const nobodyThere: ReadonlySet<string> = new Set(["ENOENT", "ECONNREFUSED", "ENOTSOCK"]);

/**
 * Asks the server that runs on `directory`.
 * @throws {NotRunningError} when none does, {@link AdminError} when it refuses or its answer cannot be understood.
 */
export async function askServer<T>(
  directory: DataDirectory,
  cwd: string,
  asked: AdminRequest<T>,
): Promise<T> {
  const { path } = directory;
  if (!existsSync(directory.run)) throw new NotRunningError(`no server is running on ${path}`);
  using socket = adminSocketPath(directory.run, cwd);
  let answer: Answer;
  try {
    answer = await exchange(socket.path, asked);
  } catch (thrown) {
    const code = errorCode(thrown) ?? "";
    const options = { cause: thrown };
    if (nobodyThere.has(code)) {
      throw new NotRunningError(
        `no server is running on ${path}: start one with \`postern up\`, or name another with --data`,
        options,
      );
    }
    if (code === "EACCES") {
      throw new NotRunningError(
        `the server on ${path} belongs to another user: run this as that user`,
        options,
      );
    }
    throw new NotRunningError(`the server on ${path} does not answer: ${errorText(thrown)}`, options);
  }
  const value = parseJson(answer.text);
  if (answer.status >= 400) {
    const refusal = adminErrorSchema.safeParse(value);
    throw new AdminError(
      refusal.success ? refusal.data.message : `the server on ${path} answered ${answer.status}`,
    );
  }
  const result = asked.answer.safeParse(value);
  if (result.success) return result.data;
  throw new AdminError(
    `the server on ${path} answers as another version would: use the \`postern\` it was started with`,
  );
}
