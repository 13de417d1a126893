import { randomUUID } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { open, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";

import { errorCode, errorText } from "@postern/core/errors";

import { GateStateError } from "./errors.ts";

/** One line of a file: the CRC-32 of the JSON in 8 hexadecimal digits, a space, the JSON, a line feed. */
export function encodeLine(value: unknown): string {
  const json = JSON.stringify(value);
  return `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`;
}

/** The value of a line without its line feed; `undefined` when it is not what was written. */
export function decodeLine(line: string): unknown {
  const json = line.slice(9);
  if (line !== `${crc32(json).toString(16).padStart(8, "0")} ${json}`) return undefined;
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** The file's text; `undefined` when there is none. @throws {GateStateError} */
export function readStateFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    if (errorCode(thrown) === "ENOENT") return undefined;
    throw stateError(`read ${path}`, thrown);
  }
}

/** Replaces the file, mode 0600, in one step that is on disk when this returns. @throws {GateStateError} */
export function replaceStateFile(path: string, text: string): void {
  const temporary = `${path}.tmp`;
  try {
    rmSync(temporary, { force: true });
    writeFileSync(temporary, text, { mode: 0o600, flag: "wx", flush: true });
    renameSync(temporary, path);
    const directory = openSync(dirname(path), "r");
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  } catch (thrown) {
    throw stateError(`write ${path}`, thrown);
  }
}

/** The same, while others have their turn: one at a time for one file. @throws {GateStateError} */
export async function replaceStateFileLater(path: string, text: string): Promise<void> {
  const temporary = `${path}.tmp`;
  try {
    await rm(temporary, { force: true });
    await writeFile(temporary, text, { mode: 0o600, flag: "wx", flush: true });
    await rename(temporary, path);
    await using directory = await open(dirname(path), "r");
    await directory.sync();
  } catch (thrown) {
    throw stateError(`write ${path}`, thrown);
  }
}

export function stateError(attempted: string, thrown: unknown): GateStateError {
  return new GateStateError(`the gate cannot ${attempted}: ${errorText(thrown)}`, { cause: thrown });
}

/**
 * Names the time since the machine was started, which what the kernel was given to write survives. Where the kernel does not tell, a new
 * name each time.
 */
export function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return randomUUID();
  }
}
