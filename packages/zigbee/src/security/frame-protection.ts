import { uint32, uint8 } from "../encoding.ts";
import { type Eui64, eui64Bytes } from "../eui64.ts";
import { type AesKey } from "./aes.ts";
import { type AuxiliaryHeader, KeyIdentifier } from "./auxiliary-header.ts";
import { openCcmStar, sealCcmStar } from "./ccm-star.ts";
import { securityLevel } from "./levels.ts";
import { joined } from "./mmo-hash.ts";
import { createNonce, setZigbeeNonce } from "./nonce.ts";

/** Bits of the security control byte. @see Zigbee §4.5.1.1 */
const extendedNonce = 0x20;

/** With what a NWK or APS frame is protected. */
export interface FrameProtection {
  /** The key as it is used: of a key-transport or key-load frame, the key derived from the link key. */
  readonly key: AesKey;
  /** A `KeyIdentifier`. */
  readonly keyIdentifier: number;
  /** Of network keys only. */
  readonly keySequence: number;
  readonly level: number;
  readonly source: Eui64;
  readonly frameCounter: number;
}

/**
 * A NWK or APS frame as it is sent: header, auxiliary header, protected payload, integrity code. The level is sent as 0, and
 * authenticated with its value. @see Zigbee §4.3.1.1, §4.4.1.1
 */
export function sealFrame(header: Uint8Array, payload: Uint8Array, how: FrameProtection): Uint8Array {
  const control = extendedNonce | (how.keyIdentifier << 3);
  const auxiliary = joined(
    uint32(how.frameCounter),
    eui64Bytes(how.source),
    how.keyIdentifier === KeyIdentifier.networkKey ? uint8(how.keySequence) : new Uint8Array(0),
  );
  const nonce = createNonce();
  setZigbeeNonce(nonce, how.source, how.frameCounter, control | how.level);
  const body = sealCcmStar(how.key, {
    header: joined(header, uint8(control | how.level), auxiliary),
    payload,
    nonce,
    level: securityLevel(how.level),
  });
  return joined(header, uint8(control), auxiliary, body);
}

/** Where the parts of a protected frame lie, as its decoder found them. */
export interface ProtectedFrame {
  readonly start: number;
  readonly auxiliary: AuxiliaryHeader | undefined;
  readonly payloadStart: number;
  readonly payloadEnd: number;
}

/**
 * The payload in clear, or `undefined` when the integrity code is wrong, or the frame is too short or has no auxiliary header.
 * `source` is used when the frame does not name it. @see Zigbee §4.3.1.2, §4.4.1.2
 */
export function openFrame(
  bytes: Uint8Array,
  frame: ProtectedFrame,
  how: { readonly key: AesKey; readonly level: number; readonly source?: Eui64 | undefined },
): Uint8Array | undefined {
  const { auxiliary } = frame;
  const source = auxiliary?.source ?? how.source;
  if (auxiliary === undefined || source === undefined) return undefined;
  const level = securityLevel(how.level);
  const control = (auxiliary.control & ~7) | how.level;
  const nonce = createNonce();
  setZigbeeNonce(nonce, source, auxiliary.frameCounter, control);
  const output = new Uint8Array(Math.max(0, frame.payloadEnd - frame.payloadStart));
  const input = {
    bytes: bytes.subarray(0, frame.payloadEnd),
    start: frame.start,
    payloadStart: frame.payloadStart,
    payloadEnd: frame.payloadEnd - level.micBytes,
    nonce,
    level,
    patchOffset: auxiliary.controlOffset,
    patchValue: control,
  };
  const count = openCcmStar(how.key, input, output);
  return count === -1 ? undefined : output.subarray(0, count);
}
