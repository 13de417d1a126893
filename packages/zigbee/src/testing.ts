import { type CapturedFrame } from "./capture/captured-frame.ts";
import { pcapHeader, pcapRecord } from "./capture/pcap-writer.ts";
import { uint16 } from "./encoding.ts";
import { type Eui64, eui64Bytes } from "./eui64.ts";
import { createAesKey } from "./security/aes.ts";
import { sealFrame } from "./security/frame-protection.ts";
import { keyLoadKey, keyTransportKey } from "./security/link-key.ts";
import { joined } from "./security/mmo-hash.ts";

/** Bytes of hexadecimal text; spaces are for the reader. */
export function unhex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Where a test's frame goes. */
export interface TestAddresses {
  readonly pan: number;
  readonly destination: number;
  readonly source: number;
  readonly macSequence: number;
}

/** A MAC data frame between short addresses that asks for an acknowledgement. */
export function macData(to: TestAddresses, payload: Uint8Array): Uint8Array {
  const { pan, destination, source, macSequence } = to;
  return joined(
    uint16(0x8861),
    Uint8Array.of(macSequence),
    uint16(pan),
    uint16(destination),
    uint16(source),
    payload,
  );
}

/** A MAC command from an extended address to the coordinator. */
export function macCommand(pan: number, source: Eui64, command: Uint8Array, macSequence = 0): Uint8Array {
  const header = joined(uint16(0xc823), Uint8Array.of(macSequence), uint16(pan), uint16(0), uint16(0xffff));
  return joined(header, eui64Bytes(source), command);
}

/** A Zigbee beacon of a coordinator. */
export function beacon(pan: number, extendedPan: Eui64, permit = false): Uint8Array {
  const header = joined(
    uint16(0x8000),
    Uint8Array.of(1),
    uint16(pan),
    uint16(0),
    uint16(permit ? 0xcfff : 0x4fff),
  );
  return joined(header, unhex("0000 00 2284"), eui64Bytes(extendedPan), unhex("ffffff 00"));
}

/** How a layer is protected. */
export interface TestProtection {
  readonly key: Uint8Array;
  readonly source: Eui64;
  readonly counter: number;
  readonly level?: number;
  readonly keySequence?: number;
}

/** A NWK frame with `payload`, protected when asked for. `command`: a NWK command instead of data. */
export function nwkFrame(
  options: {
    readonly destination: number;
    readonly source: number;
    readonly sequence?: number;
    readonly radius?: number;
    readonly command?: boolean;
    readonly protection?: TestProtection;
  },
  payload: Uint8Array,
): Uint8Array {
  const { protection } = options;
  const type = options.command === true ? 1 : 0;
  const control = 0x0048 | type | (protection === undefined ? 0 : 0x200);
  const header = joined(
    uint16(control),
    uint16(options.destination),
    uint16(options.source),
    Uint8Array.of(options.radius ?? 30, options.sequence ?? 1),
  );
  if (protection === undefined) return joined(header, payload);
  return sealed(header, payload, { ...protection, identifier: 1, sealing: protection.key });
}

/** An APS command frame; `identifier`: 0 data key, 2 key-transport key, 3 key-load key of the link key. */
export function apsCommand(
  payload: Uint8Array,
  protection?: TestProtection & { readonly identifier: number },
): Uint8Array {
  const header = Uint8Array.of(protection === undefined ? 0x01 : 0x21, 7);
  if (protection === undefined) return joined(header, payload);
  const { identifier, key } = protection;
  const sealing = identifier === 2 ? keyTransportKey(key) : identifier === 3 ? keyLoadKey(key) : key;
  return sealed(header, payload, { ...protection, sealing });
}

function sealed(
  header: Uint8Array,
  payload: Uint8Array,
  how: TestProtection & { readonly identifier: number; readonly sealing: Uint8Array },
): Uint8Array {
  return sealFrame(header, payload, {
    key: createAesKey(how.sealing),
    keyIdentifier: how.identifier,
    keySequence: how.keySequence ?? 0,
    level: how.level ?? 5,
    source: how.source,
    frameCounter: how.counter,
  });
}

/** The payload of a Transport Key command. */
export function transportKey(
  keyType: number,
  key: Uint8Array,
  destination: Eui64,
  source: Eui64,
): Uint8Array {
  const sequence = keyType === 1 || keyType === 5 ? Uint8Array.of(0) : new Uint8Array(0);
  return joined(Uint8Array.of(5, keyType), key, sequence, eui64Bytes(destination), eui64Bytes(source));
}

/** An APS data frame: On/Off toggle to endpoint 1, or what is given. */
export function apsData(
  options: { readonly cluster?: number; readonly profile?: number; readonly endpoint?: number } = {},
  payload: Uint8Array = unhex("01 05 02"),
): Uint8Array {
  const endpoint = options.endpoint ?? 1;
  const cluster = uint16(options.cluster ?? 6);
  const profile = uint16(options.profile ?? 0x0104);
  return joined(Uint8Array.of(0, endpoint), cluster, profile, Uint8Array.of(endpoint, 9), payload);
}

/** Frames as a sniffer would record them, `stepUs` apart. */
export function captured(frames: readonly Uint8Array[], stepUs = 10_000): CapturedFrame[] {
  return frames.map((bytes, index) => ({
    number: index + 1,
    timeUs: 1_700_000_000_000_000 + index * stepUs,
    bytes,
    frameCheck: "good",
    rssi: undefined,
    channel: undefined,
  }));
}

/** A pcap file of link type 195, with check sequences. */
export function pcapFile(frames: readonly Uint8Array[], stepUs = 10_000): Uint8Array {
  const startUs = 1_700_000_000_000_000;
  return joined(pcapHeader(), ...frames.map((frame, index) => pcapRecord(startUs + index * stepUs, frame)));
}
