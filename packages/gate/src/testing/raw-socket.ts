import { isIPv4 } from "node:net";

import { ipBytes } from "@postern/knock/ip-address";

import { address } from "./firewall-suite.ts";
import { ipPacket, type Datagram } from "./raw-packets.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_RAW = 3;
const IPPROTO_RAW = 255;

/** Sends datagrams with any source. Needs root, or CAP_NET_RAW. */
export interface RawSocket extends Disposable {
  /** False when the kernel does not take it. */
  send(datagram: Datagram): boolean;
  /** A whole IP packet, as it is; for many of nearly the same. */
  sendPacket(packet: Uint8Array, to: SocketAddress): boolean;
}

export async function openRawSocket(): Promise<RawSocket> {
  const { load } = await import("koffi");
  const libc = load(null);
  const socket: (domain: number, type: number, protocol: number) => number = libc.func(
    "int socket(int domain, int type, int protocol)",
  );
  const sendTo: (
    socket: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
    to: Uint8Array,
    toLength: number,
  ) => number = libc.func(
    "intptr_t sendto(int socket, const uint8_t *bytes, size_t length, int flags, const uint8_t *to, uint32_t toLength)",
  );
  const close: (socket: number) => number = libc.func("int close(int socket)");
  const ipv4 = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  const ipv6 = socket(AF_INET6, SOCK_RAW, IPPROTO_RAW);
  if (ipv4 < 0 || ipv6 < 0) throw new Error("raw sockets are not allowed here");
  const sendPacket = (packet: Uint8Array, to: SocketAddress): boolean => {
    const family = to.length === ipv4AddressBytes ? ipv4 : ipv6;
    return sendTo(family, packet, packet.length, 0, to, to.length) === packet.length;
  };
  return {
    send: (datagram) => sendPacket(ipPacket(datagram), socketAddress(datagram.destination)),
    sendPacket,
    [Symbol.dispose]() {
      close(ipv4);
      close(ipv6);
    },
  };
}

/** `struct sockaddr_in` or `struct sockaddr_in6`. */
type SocketAddress = Buffer;

const ipv4AddressBytes = 16;

/** Where a raw socket sends to; it has no ports. */
export function socketAddress(destination: string): SocketAddress {
  const bytes = ipBytes(address(destination));
  if (isIPv4(destination)) {
    const found = Buffer.alloc(ipv4AddressBytes);
    found.writeUInt16LE(AF_INET, 0);
    found.set(bytes.subarray(12), 4);
    return found;
  }
  const found = Buffer.alloc(28);
  found.writeUInt16LE(AF_INET6, 0);
  found.set(bytes, 8);
  return found;
}
