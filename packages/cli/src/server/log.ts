import type { Writable } from "node:stream";

import pino, { type DestinationStream, type Logger } from "pino";
import { build as createPretty } from "pino-pretty";

import type { LogFormat, LogLevel } from "../config/configuration.ts";
import type { CommandContext } from "../context.ts";

/** The server's log: pino on stderr, so that stdout is free for what was asked for. */
export interface ServerLog {
  readonly log: Logger;
  /** Writes what is still held back; for the end of the process. */
  flush(): void;
}

/** What nobody should log is not written even if somebody does. */
const redact = ["password", "key", "psk", "token", "*.password", "*.key", "*.psk", "*.token"];

/** How much may wait for a slow reader of the log before lines are dropped: the server must not wait for it. */
const waitingBytesMax = 4_194_304;

interface FlushableStream extends DestinationStream {
  flushSync?(): void;
}

function destinationOf(stderr: Writable): FlushableStream {
  if ("fd" in stderr && typeof stderr.fd === "number") {
    return pino.destination({ dest: stderr.fd, sync: false, maxLength: waitingBytesMax });
  }
  return stderr;
}

export function createServerLog(
  { stderr, env }: Pick<CommandContext, "stderr" | "env">,
  { level, format }: { readonly level: LogLevel; readonly format: LogFormat },
): ServerLog {
  const terminal = stderr.isTTY === true;
  const options = {
    level,
    redact,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  if (format === "pretty" || (format === "auto" && terminal)) {
    const noColour = env["NO_COLOR"];
    const pretty = createPretty({
      colorize: terminal && (noColour === undefined || noColour === ""),
      translateTime: "SYS:HH:MM:ss",
      ignore: "pid,hostname",
      singleLine: true,
      destination: stderr,
    });
    return { log: pino(options, pretty), flush: () => {} };
  }
  const destination = destinationOf(stderr);
  return { log: pino(options, destination), flush: () => destination.flushSync?.() };
}
