import { encodeApsDataHeader } from "@postern/zigbee/aps/encode-aps-frame";
import { uint16, uint32 } from "@postern/zigbee/encoding";
import { type Eui64, eui64Bytes } from "@postern/zigbee/eui64";
import { encodeMacFrame } from "@postern/zigbee/mac/encode-mac-frame";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";
import { encodeNwkHeader } from "@postern/zigbee/nwk/encode-nwk-frame";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";
import { type AesKey, createAesKey } from "@postern/zigbee/security/aes";
import { KeyIdentifier } from "@postern/zigbee/security/auxiliary-header";
import { sealFrame } from "@postern/zigbee/security/frame-protection";
import { joined } from "@postern/zigbee/security/mmo-hash";
import { encodeZclCommand } from "@postern/zigbee/zcl/encode-zcl";

/** Where a forged frame claims to come from, and where it goes. */
export interface Claimed {
  readonly pan: number;
  readonly destination: number;
  readonly source: number;
  readonly sourceAddress: Eui64;
  readonly macSequence: number;
  readonly frameCounter: number;
}

/** A NWK data frame as if it were protected: nobody who has the key takes it, if it has an integrity code. */
export function bogusFrame(
  claimed: Claimed,
  noise: Uint8Array,
  options: { readonly framePending: boolean; readonly keySequence: number },
): Uint8Array {
  const header = encodeNwkHeader({
    frameType: NwkFrameType.data,
    destination: claimed.destination,
    source: claimed.source,
    radius: 30,
    sequence: claimed.macSequence,
    security: true,
  });
  const auxiliary = joined(
    Uint8Array.of(0x28),
    uint32(claimed.frameCounter),
    eui64Bytes(claimed.sourceAddress),
    Uint8Array.of(options.keySequence),
  );
  return macData(claimed, joined(header, auxiliary, noise), options.framePending);
}

/** A command to switch a lamp over, protected with a network key that the attacker has. */
export function forgedToggle(claimed: Claimed, key: Uint8Array, keySequence: number): Uint8Array {
  const aps = encodeApsDataHeader({
    destinationEndpoint: 1,
    sourceEndpoint: 1,
    cluster: 0x0006,
    profile: 0x0104,
    counter: claimed.frameCounter & 0xff,
    broadcast: false,
    security: false,
    acknowledgmentRequest: false,
  });
  const toggle = encodeZclCommand(claimed.frameCounter & 0xff, { id: 2, fromServer: false });
  return sealed(claimed, joined(aps, toggle), { key: createAesKey(key), keySequence });
}

/** A broadcast that means nothing, protected with a network key that the attacker has. */
export function forgedBroadcast(claimed: Claimed, key: AesKey, keySequence: number): Uint8Array {
  const aps = encodeApsDataHeader({
    destinationEndpoint: 0xff,
    sourceEndpoint: 1,
    cluster: 0x0003,
    profile: 0x0104,
    counter: claimed.frameCounter & 0xff,
    broadcast: true,
    security: false,
    acknowledgmentRequest: false,
  });
  const identify = encodeZclCommand(claimed.frameCounter & 0xff, {
    id: 0,
    fromServer: false,
    payload: uint16(0),
  });
  return sealed(claimed, joined(aps, identify), { key, keySequence });
}

function sealed(
  claimed: Claimed,
  payload: Uint8Array,
  how: { readonly key: AesKey; readonly keySequence: number },
): Uint8Array {
  const isBroadcast = claimed.destination >= 0xfff8;
  const header = encodeNwkHeader({
    frameType: NwkFrameType.data,
    destination: claimed.destination,
    source: claimed.source,
    radius: 12,
    sequence: claimed.frameCounter & 0xff,
    security: true,
  });
  const frame = sealFrame(header, payload, {
    ...how,
    keyIdentifier: KeyIdentifier.networkKey,
    level: 5,
    source: claimed.sourceAddress,
    frameCounter: claimed.frameCounter,
  });
  const to = isBroadcast ? { ...claimed, destination: 0xffff } : claimed;
  return macData(to, frame, false);
}

/** A MAC data frame between short addresses. */
function macData(
  claimed: Omit<Claimed, "sourceAddress" | "frameCounter">,
  payload: Uint8Array,
  framePending: boolean,
): Uint8Array {
  const { pan, destination, source, macSequence } = claimed;
  return encodeMacFrame(
    {
      frameType: MacFrameType.data,
      sequence: macSequence,
      acknowledgmentRequest: destination !== 0xffff,
      framePending,
      destination: { pan, address: destination },
      source: { pan, address: source },
    },
    payload,
  );
}

/** The same frame with another MAC sequence number: no receiver takes it for a repetition by the MAC. */
export function renumbered(bytes: Uint8Array, sequence: number): Uint8Array {
  const copy = bytes.slice();
  copy[2] = sequence;
  return copy;
}
