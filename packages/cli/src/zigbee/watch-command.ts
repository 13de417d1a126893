import { createSocket } from "node:dgram";
import { once } from "node:events";
import { resolve } from "node:path";

import { type Finding, frameRanges, isAtLeast, severities } from "@postern/audit/finding";
import { Watch } from "@postern/audit/zigbee/watch";
import { errorText } from "@postern/core/errors";
import { frameOfZep } from "@postern/zigbee/capture/link-type";
import { LiveReader } from "@postern/zigbee/capture/live-reader";
import { type Keyring } from "@postern/zigbee/keyring";

import type { CommandContext } from "../context.ts";
import { ExitCode, UsageError } from "../errors.ts";
import { openAlerts } from "./alerts.ts";
import { loadExpected } from "./expected.ts";
import { createKeyring } from "./keys.ts";
import { wholeNumber } from "./sim-command.ts";

/** The options of `postern zigbee watch`, as they stand on the command line. */
export interface WatchCommandOptions {
  readonly zep?: string;
  readonly keyFile?: string;
  readonly inventory?: string;
  readonly minutes: string;
  readonly every: string;
  readonly severity: string;
  readonly json?: boolean;
  readonly publish?: string;
  readonly bundle?: string;
}

/** Frames that are kept at most: some minutes of a channel that is fully used. */
const framesMax = 50_000;
const againUs = 3_600_000_000;

/** Watches a capture that comes on stdin, or ZEP datagrams, and tells each finding when it appears. Runs until the end, or a signal. */
export async function watchCommand(options: WatchCommandOptions, context: CommandContext): Promise<void> {
  const from = severities.find((severity) => severity === options.severity);
  if (from === undefined) {
    throw new UsageError(
      `--severity is ${JSON.stringify(options.severity)}, not one of ${severities.join(", ")}`,
    );
  }
  const minutes = wholeNumber("--minutes", options.minutes, 1, 1_440);
  const everySeconds = wholeNumber("--every", options.every, 1, 3_600);
  const { keyFile } = options;
  const expected = await loadExpected(options.inventory, context);
  const keyring = createKeyring({
    keys: [],
    installCodes: [],
    file: keyFile === undefined ? undefined : resolve(context.cwd, keyFile),
  });
  const watch = new Watch({
    keyring,
    showKeys: false,
    windowUs: minutes * 60_000_000,
    framesMax,
    againUs,
    ...(expected === undefined ? {} : { expected }),
  });
  const signal = context.interruption();
  await using alerts = await openAlerts(options, context, signal);
  const look = async (): Promise<void> => {
    for (const finding of await watch.look()) {
      if (!isAtLeast(finding.severity, from)) continue;
      tell(finding, options.json === true, context);
      alerts?.send(alertJson(finding));
    }
  };
  const looking = setInterval(() => void look(), everySeconds * 1_000);
  try {
    if (options.zep === undefined) await watchInput(watch, keyring, context, signal);
    else await watchZep(watch, options.zep, context, signal);
  } finally {
    clearInterval(looking);
  }
  await look();
  await alerts?.sent();
  if (signal.aborted) context.exitCode = ExitCode.interrupted;
}

/** A finding as programs get it: without its evidence. */
function alertJson(finding: Finding): string {
  const { id, severity, confidence, subject, summary, frames, thesis, mend } = finding;
  return JSON.stringify({
    id,
    severity,
    confidence,
    subject,
    summary,
    frames: frameRanges(frames),
    thesis,
    mend,
  });
}

function tell(finding: Finding, json: boolean, context: CommandContext): void {
  const { id, severity, subject, summary, frames } = finding;
  const line = json
    ? alertJson(finding)
    : `${severity.toUpperCase()}  ${id}  ${subject}: ${summary} (frames ${frameRanges(frames.slice(0, 20))})`;
  context.stdout.write(`${line}\n`);
}

async function watchInput(
  watch: Watch,
  keyring: Keyring,
  context: CommandContext,
  signal: AbortSignal,
): Promise<void> {
  const reader = new LiveReader({
    onFrame: (frame) => watch.add(frame),
    onKey: (key, use) => void keyring.add(key, use, { kind: "capture" }),
  });
  const stop = (): void => void context.stdin.destroy();
  signal.addEventListener("abort", stop, { once: true });
  try {
    for await (const chunk of context.stdin) {
      if (chunk instanceof Uint8Array) reader.push(chunk);
      if (reader.problem !== undefined) break;
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  } finally {
    signal.removeEventListener("abort", stop);
  }
  if (signal.aborted) return;
  reader.end();
  if (reader.problem === undefined) return;
  context.stderr.write(`postern: standard input: ${reader.problem.reason}\n`);
  context.exitCode = ExitCode.usage;
}

async function watchZep(
  watch: Watch,
  place: string,
  context: CommandContext,
  signal: AbortSignal,
): Promise<void> {
  const [, host = "127.0.0.1", port = ""] = /^(?:(.+):)?(\d{1,5})$/.exec(place) ?? [];
  const portNumber = wholeNumber("--zep", port, 0, 65_535);
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  let number = 0;
  socket.on("message", (packet) => {
    const timeUs = Math.round((performance.timeOrigin + performance.now()) * 1_000);
    const frame = frameOfZep(packet, {
      number: ++number,
      timeUs,
      linkType: 195,
      frameCheck: "crc",
      missing: 0,
    });
    if (frame !== undefined) watch.add(frame);
  });
  const closed = once(socket, "close");
  try {
    socket.bind(portNumber, host.replace(/^\[|\]$/g, ""));
    await once(socket, "listening");
  } catch (thrown) {
    throw new UsageError(`cannot listen for ZEP at ${place}: ${errorText(thrown)}`, { cause: thrown });
  }
  const { address, port: bound } = socket.address();
  context.stderr.write(`Listening for ZEP at ${address}:${bound}\n`);
  if (signal.aborted) socket.close();
  else signal.addEventListener("abort", () => socket.close(), { once: true });
  await closed;
}
