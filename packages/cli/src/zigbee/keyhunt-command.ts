import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { setImmediate } from "node:timers/promises";

import { errorText } from "@postern/core/errors";
import { Dissector } from "@postern/zigbee/dissector";
import { Harvester } from "@postern/zigbee/harvest";
import { type HuntedKey, KeyHunt } from "@postern/zigbee/key-hunt";
import { ZigbeeKey } from "@postern/zigbee/keyring";

import type { CommandContext } from "../context.ts";
import { ExitCode, UsageError } from "../errors.ts";
import { openCapture } from "./capture-source.ts";
import { createKeyring } from "./keys.ts";
import { Progress } from "./progress.ts";
import { RepeatedCapture } from "./read-capture.ts";
import { wholeNumber } from "./sim-command.ts";

/** The options of `postern zigbee keyhunt`, as they stand on the command line. */
export interface KeyhuntCommandOptions {
  readonly firmware: string;
  readonly keyFile?: string;
  readonly level: string;
  readonly showKeys?: boolean;
  readonly json?: boolean;
}

/** Memory of the devices that Zigbee runs on has some megabytes at most. */
const dumpBytesMax = 64 * 2 ** 20;

/** Looks for the keys of a capture in a memory dump. Ends with 1 when none is there. */
export async function keyhuntCommand(
  file: string,
  options: KeyhuntCommandOptions,
  context: CommandContext,
): Promise<void> {
  const dump = loadDump(options.firmware, context.cwd);
  const level = wholeNumber("--level", options.level, 1, 7);
  if (level === 4) throw new UsageError("--level is 4, at which no frame tells a right key from a wrong one");
  const interruption = context.interruption();
  const hunt = new KeyHunt(level);
  const { keyFile } = options;
  const keyring = createKeyring({
    keys: [],
    installCodes: [],
    file: keyFile === undefined ? undefined : resolve(context.cwd, keyFile),
  });
  await using source = await openCapture(file, context, interruption);
  const { signal } = source;
  const progress = new Progress(context.stderr, source.fileBytes, () => performance.now());
  const capture = new RepeatedCapture({ source, keyring, signal, progress, frameCheck: undefined });
  const dissector = new Dissector(keyring, { level });
  const harvester = new Harvester(keyring);
  await capture
    .read((frame) => {
      const dissection = dissector.dissect(frame);
      harvester.take(dissection);
      hunt.see(dissection, (pan, short) => dissector.address(pan, short));
    })
    .finally(() => progress.end());
  if (capture.problem !== undefined) {
    context.stderr.write(`postern: ${file}: ${capture.problem.reason}\n`);
    context.exitCode = ExitCode.usage;
  }
  if (hunt.targetCount === 0) {
    throw new UsageError(`${file} has no protected frame that a key is missing for`);
  }
  const found: HuntedKey[] = [];
  for (const step of hunt.search(dump)) {
    if ("bytes" in step) {
      found.push(step);
      continue;
    }
    if (context.stderr.isTTY === true) {
      context.stderr.write(`\r\u001B[K${Math.round((100 * step.offset) / dump.length)} % of the dump`);
    }
    await setImmediate();
    if (signal.aborted) {
      context.exitCode = ExitCode.interrupted;
      return;
    }
  }
  if (context.stderr.isTTY === true) context.stderr.write("\r\u001B[K");
  report(found, options, context);
  if (found.length === 0 && context.exitCode === ExitCode.ok) context.exitCode = ExitCode.failed;
}

function report(found: readonly HuntedKey[], options: KeyhuntCommandOptions, context: CommandContext): void {
  const shown = (bytes: Uint8Array): string =>
    options.showKeys === true
      ? Buffer.from(bytes).toString("hex")
      : new ZigbeeKey(bytes, { kind: "given" }).toString();
  const keys = found.map(({ offset, reversed, use, bytes, frames, tried }) => ({
    offset,
    byteOrder: reversed ? "reversed" : "as used",
    use,
    key: shown(bytes),
    frames,
    tried,
  }));
  if (options.json === true) {
    context.stdout.write(`${JSON.stringify(keys, undefined, 2)}\n`);
    return;
  }
  for (const { offset, byteOrder, use, key, frames, tried } of keys) {
    const place = `0x${offset.toString(16).padStart(8, "0")}`;
    const opens = `opens ${frames.length} of ${tried} frames tried (${frames.slice(0, 4).join(", ")})`;
    context.stdout.write(`${place}  ${use} ${key}, ${byteOrder}: ${opens}\n`);
  }
  if (keys.length === 0) context.stdout.write("No key of the capture is in the dump.\n");
}

function loadDump(file: string, cwd: string): Uint8Array {
  let dump: Uint8Array;
  try {
    dump = readFileSync(resolve(cwd, file));
  } catch (thrown) {
    throw new UsageError(`cannot read the dump ${file}: ${errorText(thrown)}`, { cause: thrown });
  }
  if (dump.length < 16) throw new UsageError(`the dump ${file} has ${dump.length} bytes, less than a key`);
  if (dump.length > dumpBytesMax) {
    throw new UsageError(`the dump ${file} has ${dump.length} bytes, more than ${dumpBytesMax}`);
  }
  return dump;
}
