import { isIPv4 } from "node:net";

import {
  ipFromBytes,
  parseIpAddress,
  parseIpSource,
  type IpAddress,
  type IpSource,
} from "@postern/knock/ip-address";

import { sets, tableName } from "./ruleset.ts";

/** One way in: a source, its port (0 for any), and the hidden port. */
export type Opening = { readonly source: IpAddress; readonly sourcePort: number; readonly port: number };

/** An element of one of our sets, in the text of nft. */
export type Element = { readonly set: string; readonly text: string };

/** Throws `TypeError` for a source and `RangeError` for a port that are none: both become text of a command. */
export function openingElement({ source, sourcePort, port }: Opening): Element {
  const address = parseIpAddress(source);
  if (address === undefined || address !== source)
    throw new TypeError(`no address in its canonical form: ${source}`);
  checkPort(port, 1);
  checkPort(sourcePort, 0);
  const family = isIPv4(source) ? "ipv4" : "ipv6";
  return sourcePort === 0
    ? { set: sets.windows[family], text: `${source} . ${port}` }
    : { set: sets.exactWindows[family], text: `${source} . ${sourcePort} . ${port}` };
}

function checkPort(port: number, min: number): void {
  if (!Number.isInteger(port) || port < min || port > 65_535) throw new RangeError(`no port: ${port}`);
}

/** Throws `TypeError` for a source that is none. */
export function banElement(source: IpSource): Element {
  if (parseIpSource(source) !== source) throw new TypeError(`no source in its canonical form: ${source}`);
  return isIPv4(source)
    ? { set: sets.bans.ipv4, text: source }
    : { set: sets.bans.ipv6, text: source.replace(/\/64$/, "") };
}

/** The kernel lets go of what it is given no time for, or too much, never: both are refused. */
const timeoutMsMax = 2_147_483_647;

/** Puts an element in for a time from now, whether it is there or not: adding what is there would leave its time as it was. */
export function putCommands({ set, text }: Element, ms: number): string {
  if (!(ms >= 1 && ms <= timeoutMsMax)) throw new RangeError(`no time that an element can live: ${ms} ms`);
  const add = `add element inet ${tableName} ${set} { ${text} timeout ${Math.round(ms)}ms }`;
  return `${add}\ndelete element inet ${tableName} ${set} { ${text} }\n${add}`;
}

/** Takes an element out, whether it is there or not. */
export function dropCommands({ set, text }: Element): string {
  return `add element inet ${tableName} ${set} { ${text} timeout 1s }\ndelete element inet ${tableName} ${set} { ${text} }`;
}

/** The key of an element of `windows…` or `exact_windows…`: each part is filled up to four bytes. `undefined` when it is of another kind. */
export function openingOfKey(key: Buffer): Opening | undefined {
  const addressBytes = key.length >= 20 ? 16 : 4;
  const rest = key.length - addressBytes;
  if (rest !== 4 && rest !== 8) return undefined;
  const source = addressOf(key.subarray(0, addressBytes));
  return rest === 4
    ? { source, sourcePort: 0, port: key.readUInt16BE(addressBytes) }
    : { source, sourcePort: key.readUInt16BE(addressBytes), port: key.readUInt16BE(addressBytes + 4) };
}

/** The key of an element of `bans…`. */
export function sourceOfKey(key: Buffer): IpSource | undefined {
  if (key.length !== 4 && key.length !== 16) return undefined;
  return parseIpSource(addressOf(key));
}

function addressOf(bytes: Buffer): IpAddress {
  return ipFromBytes(bytes.length === 16 ? bytes : Buffer.concat([mappedPrefix, bytes]));
}

const mappedPrefix = Buffer.from("00000000000000000000ffff", "hex");
