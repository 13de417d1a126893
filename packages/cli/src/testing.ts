import { PassThrough } from "node:stream";

import { InterruptedError } from "./client/errors.ts";
import type { CommandContext } from "./context.ts";

/** A context whose output is kept; `interrupt` stands for Ctrl-C. */
export interface FakeContext extends CommandContext {
  readonly stdin: PassThrough;
  out(): string;
  err(): string;
  interrupt(): void;
}

export function fakeContext(
  options: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
): FakeContext {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  stdout.on("data", (chunk: Buffer) => out.push(chunk));
  stderr.on("data", (chunk: Buffer) => err.push(chunk));
  const controller = new AbortController();
  return {
    stdin: new PassThrough(),
    stdout,
    stderr,
    env: options.env ?? {},
    cwd: options.cwd ?? "/",
    program: "postern",
    colours: false,
    exitCode: 0,
    interruption: () => controller.signal,
    onHangup: () => ({ [Symbol.dispose]: () => {} }),
    ignoreOutputErrors: () => {},
    out: () => Buffer.concat(out).toString("utf8"),
    err: () => Buffer.concat(err).toString("utf8"),
    interrupt: () => controller.abort(new InterruptedError("interrupted by SIGINT")),
  };
}
