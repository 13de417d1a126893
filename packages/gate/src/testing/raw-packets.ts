import { isIPv4 } from "node:net";

import { ipBytes } from "@postern/knock/ip-address";

import { address } from "./firewall-suite.ts";

/** A UDP datagram as somebody who lies about its source writes it. */
export type Datagram = {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly port: number;
  readonly payload: Uint8Array;
};

const ipv4HeaderBytes = 20;
const ipv6HeaderBytes = 40;
const udpHeaderBytes = 8;
const udp = 17;

/** The whole IP packet. An IPv4 one leaves its checksums to the kernel and to nobody. @see RFC 791 §3.1, RFC 8200 §3, RFC 768 */
export function ipPacket({ source, sourcePort, destination, port, payload }: Datagram): Buffer {
  const from = ipBytes(address(source));
  const to = ipBytes(address(destination));
  const datagram = Buffer.alloc(udpHeaderBytes + payload.length);
  datagram.writeUInt16BE(sourcePort, 0);
  datagram.writeUInt16BE(port, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  datagram.set(payload, udpHeaderBytes);
  if (isIPv4(source)) {
    const header = Buffer.alloc(ipv4HeaderBytes);
    header.writeUInt8(0x45, 0);
    header.writeUInt16BE(header.length + datagram.length, 2);
    header.writeUInt8(64, 8);
    header.writeUInt8(udp, 9);
    header.set(from.subarray(12), 12);
    header.set(to.subarray(12), 16);
    return Buffer.concat([header, datagram]);
  }
  const header = Buffer.alloc(ipv6HeaderBytes);
  header.writeUInt8(0x60, 0);
  header.writeUInt16BE(datagram.length, 4);
  header.writeUInt8(udp, 6);
  header.writeUInt8(64, 7);
  header.set(from, 8);
  header.set(to, 24);
  datagram.writeUInt16BE(checksum(from, to, datagram) || 0xffff, 6);
  return Buffer.concat([header, datagram]);
}

/** @see RFC 8200 §8.1 */
function checksum(from: Buffer, to: Buffer, datagram: Buffer): number {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(datagram.length, 0);
  tail.writeUInt8(udp, 7);
  const pad = Buffer.alloc(datagram.length % 2);
  const bytes = Buffer.concat([from, to, tail, datagram, pad]);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
