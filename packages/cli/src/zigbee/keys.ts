import { readFileSync } from "node:fs";

import { errorText } from "@postern/core/errors";
import { parseEui64 } from "@postern/zigbee/eui64";
import { Keyring, type KeyOrigin } from "@postern/zigbee/keyring";
import { knownKeys } from "@postern/zigbee/known-keys";
import { installCodeKey } from "@postern/zigbee/security/install-code";

import { UsageError } from "../errors.ts";

/** What the user knows before. */
export interface GivenKeys {
  /** Sixteen bytes in hexadecimal each. */
  readonly keys: readonly string[];
  /** `CODE` or `ADDRESS=CODE`. */
  readonly installCodes: readonly string[];
  /** A file of keys and install codes, one to a line, so that they do not stand in the list of processes. */
  readonly file: string | undefined;
}

/** A keyring with what everybody knows and what the user gives. Throws `UsageError`, which never quotes a key. */
export function createKeyring(given: GivenKeys): Keyring {
  const keyring = new Keyring();
  for (const text of given.keys) addKey(keyring, text, "--key");
  for (const text of given.installCodes) addInstallCode(keyring, text, "--install-code");
  if (given.file !== undefined) addFile(keyring, given.file);
  if (keyring.keys("mac").length >= Keyring.keysMax || keyring.keys("link").length >= Keyring.keysMax) {
    throw new UsageError(`more than ${Keyring.keysMax - 1} keys or install codes are too many`);
  }
  for (const { hex, uses, name } of knownKeys) {
    for (const use of uses) keyring.add(Buffer.from(hex, "hex"), use, { kind: "well-known", name });
  }
  return keyring;
}

/** A line of Wireshark's file of keys, `"KEY","Normal"|"Reverse","LABEL"`: the key in the order in which it is used. */
function wiresharkKey(line: string): string | undefined {
  const [, text, order] = /^"([^"]*)"\s*,\s*"(Normal|Reverse)"/i.exec(line) ?? [];
  const bytes = text === undefined ? undefined : hexBytes(text);
  if (bytes === undefined || order === undefined) return undefined;
  return Buffer.from(/^r/i.test(order) ? bytes.toReversed() : bytes).toString("hex");
}

function addKey(keyring: Keyring, text: string, where: string): void {
  const bytes = hexBytes(text);
  if (bytes?.length !== 16) throw new UsageError(`${where} is not a key of 32 hexadecimal digits`);
  const isKnown = knownKeys.some(({ hex }) => hex === Buffer.from(bytes).toString("hex"));
  const origin: KeyOrigin = { kind: "given" };
  // A key that everybody knows stays one, though it is given; for the MAC there are none.
  if (!isKnown) {
    keyring.add(bytes, "network", origin);
    keyring.add(bytes, "link", origin);
  }
  keyring.add(bytes, "mac", origin);
}

function addInstallCode(keyring: Keyring, text: string, where: string): void {
  const [first = "", second] = text.split("=");
  const device = second === undefined ? undefined : parseEui64(first.trim());
  if (second !== undefined && device === undefined) {
    throw new UsageError(`${where}: what stands before = is not a device's address of 16 hexadecimal digits`);
  }
  const code = hexBytes(second ?? first);
  const key = code === undefined ? undefined : installCodeKey(code);
  if (key === undefined) {
    throw new UsageError(`${where} is not an install code of 6, 8, 12 or 16 bytes with its CRC`);
  }
  keyring.add(key, "link", { kind: "install-code", device });
}

function addFile(keyring: Keyring, file: string): void {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (thrown) {
    throw new UsageError(`cannot read the keys: ${errorText(thrown)}`, { cause: thrown });
  }
  for (const [index, raw] of text.split("\n").entries()) {
    const plain = raw.replace(/#.*/, "").trim();
    if (plain === "") continue;
    const line = wiresharkKey(plain) ?? plain;
    const where = `${file}:${index + 1}`;
    if (!line.includes("=") && hexBytes(line)?.length === 16) addKey(keyring, line, where);
    else addInstallCode(keyring, line, where);
  }
}

function hexBytes(text: string): Uint8Array | undefined {
  const digits = text.trim().replaceAll(/[\s:-]/g, "");
  return /^([0-9a-f]{2})+$/i.test(digits) ? new Uint8Array(Buffer.from(digits, "hex")) : undefined;
}
