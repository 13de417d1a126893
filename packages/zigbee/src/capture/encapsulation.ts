import { type FrameCheckFormat } from "../mac/frame-check.ts";

/*
 * Frames of IEEE 802.15.4 inside packets of a wired network: the Zigbee Encapsulation Protocol over UDP, as sniffers send them to
 * another machine, and Linux "cooked" captures of a radio.
 */

/** A frame and how it ends. */
export interface Encapsulated {
  readonly bytes: Uint8Array;
  readonly frameCheck: FrameCheckFormat | "crc-or-none";
  readonly channel: number | undefined;
}

const zepPort = 17_754;
const EtherType = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100, ieee802154: 0x00f6 } as const;
const udp = 17;

function u16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}

/** The frame in an Ethernet packet, or `undefined` when it carries none. */
export function frameInEthernet(packet: Uint8Array): Encapsulated | undefined {
  const isTagged = u16(packet, 12) === EtherType.vlan;
  const start = isTagged ? 18 : 14;
  return inProtocol(u16(packet, start - 2), packet.subarray(start));
}

/** The frame in a packet of the loopback of BSD and macOS (link type 0), or `undefined` when it carries none. */
export function frameInLoopback(packet: Uint8Array): Encapsulated | undefined {
  return packet.length < 4 ? undefined : frameInIp(packet.subarray(4));
}

/** The frame in a Linux cooked capture of the second version (link type 276), or `undefined` when it carries none. */
export function frameInLinuxCooked2(packet: Uint8Array): Encapsulated | undefined {
  return inProtocol(u16(packet, 0), packet.subarray(20));
}

/** The frame in a Linux cooked capture (link type 113), or `undefined` when it carries none. */
export function frameInLinuxCooked(packet: Uint8Array): Encapsulated | undefined {
  return inProtocol(u16(packet, 14), packet.subarray(16));
}

/** The frame in an IP packet, or `undefined` when it carries none. */
export function frameInIp(packet: Uint8Array): Encapsulated | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4) {
    const headerBytes = ((packet[0] ?? 0) & 0xf) * 4;
    // Sniffers send small datagrams: a fragment is none of theirs.
    const isFragment = (u16(packet, 6) & 0x3fff) !== 0;
    if (headerBytes < 20 || packet[9] !== udp || isFragment) return undefined;
    return inUdp(packet.subarray(headerBytes, Math.max(headerBytes, u16(packet, 2))));
  }
  return version === 6 && packet[6] === udp ? inUdp(packet.subarray(40, 40 + u16(packet, 4))) : undefined;
}

function inProtocol(protocol: number, payload: Uint8Array): Encapsulated | undefined {
  if (protocol === EtherType.ipv4 || protocol === EtherType.ipv6) return frameInIp(payload);
  if (protocol !== EtherType.ieee802154) return undefined;
  return { bytes: payload, frameCheck: "crc-or-none", channel: undefined };
}

function inUdp(datagram: Uint8Array): Encapsulated | undefined {
  if (u16(datagram, 0) !== zepPort && u16(datagram, 2) !== zepPort) return undefined;
  return frameInZep(datagram.subarray(8, Math.max(8, u16(datagram, 4))));
}

/**
 * The frame in a ZEP packet, or `undefined` when it is an acknowledgement or none at all.
 *
 *     version 1   "EX" 1 channel device(2) mode lqi reserved(7) length frame
 *     version 2   "EX" 2 1 channel device(2) mode lqi time(8) sequence(4) reserved(10) length frame
 *     version 3   as version 2, with band and channel page where that has reserved bytes
 *
 * Mode 1: the frame ends with its check sequence; mode 0: with what TI radios put in its place.
 */
export function frameInZep(packet: Uint8Array): Encapsulated | undefined {
  if (packet[0] !== 0x45 || packet[1] !== 0x58) return undefined;
  const version = packet[2];
  if (version !== 1 && version !== 2 && version !== 3) return undefined;
  if (version !== 1 && packet[3] !== 1) return undefined;
  const channelAt = version === 1 ? 3 : 4;
  const lengthAt = version === 1 ? 15 : 31;
  const length = packet[lengthAt];
  if (length === undefined) return undefined;
  const bytes = packet.subarray(lengthAt + 1, lengthAt + 1 + length);
  if (bytes.length < length) return undefined;
  return { bytes, frameCheck: packet[channelAt + 3] === 0 ? "ti" : "crc", channel: packet[channelAt] };
}
