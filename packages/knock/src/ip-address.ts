import { isIPv4, isIPv6 } from "node:net";

/**
 * An IP address as text in its one canonical form: dotted IPv4, or IPv6 as RFC 5952 writes it, without a zone. An
 * IPv4 address that IPv6 maps (`::ffff:10.0.0.1`, as dual-stack sockets give it) is the IPv4 address. Equal addresses are equal texts.
 */
export type IpAddress = string & { readonly [ipAddressBrand]: true };
declare const ipAddressBrand: unique symbol;

/** What a source is judged by: an IPv4 address, or the /64 of an IPv6 address, of which one host has all. Text as `10.0.0.1` or `fd00::/64`. */
export type IpSource = string & { readonly [ipSourceBrand]: true };
declare const ipSourceBrand: unique symbol;

/** 16 bytes; an IPv4 address as ::ffff:a.b.c.d. @see RFC 4291 §2.5.5.2 */
export const ipBytesLength = 16;

const mappedPrefix = Buffer.from("00000000000000000000ffff", "hex");

function branded(text: string): IpAddress {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a brand has no other constructor
  return text as IpAddress;
}

/** `undefined` for what is no address; a zone (`fe80::1%eth0`) is dropped. */
export function parseIpAddress(text: string): IpAddress | undefined {
  if (isIPv4(text)) return branded(text);
  const [address = ""] = text.split("%", 1);
  if (!isIPv6(address)) return undefined;
  return ipFromBytes(ipv6Bytes(address));
}

/** The address in 16 bytes. */
export function ipBytes(address: IpAddress): Buffer {
  if (!isIPv4(address)) return ipv6Bytes(address);
  return Buffer.concat([mappedPrefix, ipv4Bytes(address)]);
}

/** The address that 16 bytes at `offset` are. Throws `RangeError` when there are fewer. */
export function ipFromBytes(bytes: Uint8Array, offset = 0): IpAddress {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + offset, bytes.length - offset);
  if (view.length < ipBytesLength) throw new RangeError(`an address has 16 bytes, here are ${view.length}`);
  if (view.subarray(0, 12).equals(mappedPrefix)) return branded(view.subarray(12, 16).join("."));
  return branded(formatIpv6(view));
}

/** Whether 16 bytes at `offset` are the unspecified address. */
export function isUnspecified(bytes: Uint8Array, offset = 0): boolean {
  for (let index = offset; index < offset + ipBytesLength; index++) if (bytes[index] !== 0) return false;
  return true;
}

/** What the address is judged by. */
export function ipSource(address: IpAddress): IpSource {
  const text = isIPv4(address) ? address : `${formatIpv6(ipv6Bytes(address).fill(0, 8))}/64`;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a brand has no other constructor
  return text as IpSource;
}

/** Reads what `ipSource` gives, and any address; `undefined` for anything else. */
export function parseIpSource(text: string): IpSource | undefined {
  const [, head = text] = /^(.*)\/64$/.exec(text) ?? [];
  const address = parseIpAddress(head);
  if (address === undefined || (head !== text && isIPv4(address))) return undefined;
  return ipSource(address);
}

function ipv4Bytes(text: string): Uint8Array {
  return Uint8Array.from(text.split("."), Number);
}

function hexGroups(text: string): number[] {
  return text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
}

function ipv6Bytes(text: string): Buffer {
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (tail !== null) {
    const [a = 0, b = 0, c = 0, d = 0] = ipv4Bytes(tail[2] ?? "");
    return ipv6Bytes(`${tail[1] ?? ""}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`);
  }
  const [left = "", right] = text.split("::");
  const head = hexGroups(left);
  const end = hexGroups(right ?? "");
  const bytes = Buffer.alloc(ipBytesLength);
  head.forEach((group, index) => bytes.writeUInt16BE(group, 2 * index));
  end.forEach((group, index) => bytes.writeUInt16BE(group, 2 * (8 - end.length + index)));
  return bytes;
}

/** @see RFC 5952 §4 */
function formatIpv6(bytes: Uint8Array): string {
  const groups = Array.from(
    { length: 8 },
    (_, index) => ((bytes[2 * index] ?? 0) << 8) | (bytes[2 * index + 1] ?? 0),
  );
  let start = -1;
  let length = 1;
  for (let from = 0; from < 8; from++) {
    let to = from;
    while (to < 8 && groups[to] === 0) to++;
    if (to - from > length) [start, length] = [from, to - from];
  }
  const text = (from: number, to?: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  return start < 0 ? text(0) : `${text(0, start)}::${text(start + length)}`;
}
