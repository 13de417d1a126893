import { createCipheriv, createDecipheriv, type KeyObject } from "node:crypto";

import { ipBytes, ipFromBytes, isUnspecified, type IpAddress } from "../ip-address.ts";
import { hintBytes, hintOf, type KnockKeys } from "./keys.ts";

/*
 *   0        8            20                                         68               84
 *   ├─ hint ─┼─── nonce ───┼───────── ciphertext (48) ───────────────┼────── tag ──────┤   AES-256-GCM
 *                                                                        AAD = "SPA1" gateId hint
 *   body:  0 version   1 type   2 flags (2)   4 timestamp ms (8)   12 counter (8)   20 client address (16)
 *         36 source port (2)   38 service (2)   40 window seconds (2)   42 certBind (6)          big-endian
 */
export const packetBytes = 84;
export const nonceBytes = 12;
export const certBindBytes = 6;

const bodyBytes = 48;
const tagBytes = 16;
const nonceAt = hintBytes;
const bodyAt = nonceAt + nonceBytes;
const tagAt = bodyAt + bodyBytes;

const version = 1;
const flagHeaderSource = 1;
const flagClockless = 2;

/** What a packet asks for, by the number that stands for it. */
const actions = { 1: "open", 2: "close", 3: "extend" } as const;
export type KnockAction = (typeof actions)[keyof typeof actions];

/** The body of a packet. */
export interface Spa1Request {
  readonly action: KnockAction;
  /** The device has no clock: `timestampMs` means nothing. */
  readonly clockless: boolean;
  /** When it was made, ms since 1970. */
  readonly timestampMs: number;
  /** Grows with every packet of the device's key version; up to 2^53 - 1. */
  readonly counter: number;
  /** The address the device will connect from; `undefined` for the address the packet comes from. */
  readonly address: IpAddress | undefined;
  /** The port it will connect from; 0 for any. */
  readonly sourcePort: number;
  /** Which of the gate's services; the gate knows its ports. */
  readonly serviceId: number;
  /** For how long; 0 for the gate's default. */
  readonly windowSeconds: number;
  /** The first 6 bytes of SHA-256 over the public key (SPKI) of the certificate it will show; `undefined` for none. */
  readonly certBind: Uint8Array | undefined;
}

export type OpenedPacket =
  | { readonly kind: "value"; readonly request: Spa1Request }
  /** Not made with this key for this gate. */
  | { readonly kind: "forged" }
  /** Made with the key, but not as this version writes it. */
  | { readonly kind: "malformed" };

/** What a packet is made with. */
export interface SealOptions {
  readonly keys: KnockKeys;
  /** The gate it is for; no other opens it. */
  readonly gateId: string;
  /** The hour of its hint: `hintEpoch(now)`, or `clocklessEpoch`. */
  readonly epoch: number;
  /** 12 random bytes, never used twice. */
  readonly nonce: Uint8Array;
}

/** What the tag covers beside the body. */
function additionalData(gateId: string, hint: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`SPA1${gateId}`), hint]);
}

/** Makes a packet of 84 bytes. Throws `RangeError` when a number does not fit its field. */
export function sealPacket(request: Spa1Request, { keys, gateId, epoch, nonce }: SealOptions): Buffer {
  const hint = hintOf(keys, epoch);
  const cipher = createCipheriv("aes-256-gcm", keys.encryption, nonce, { authTagLength: tagBytes });
  cipher.setAAD(additionalData(gateId, hint));
  const ciphertext = Buffer.concat([cipher.update(encodeBody(request)), cipher.final()]);
  return Buffer.concat([hint, nonce, ciphertext, cipher.getAuthTag()]);
}

/** Opens a packet; `malformed` for one that does not have 84 bytes. Never throws. */
export function openPacket(packet: Uint8Array, encryption: KeyObject, gateId: string): OpenedPacket {
  if (packet.length !== packetBytes) return { kind: "malformed" };
  const decipher = createDecipheriv("aes-256-gcm", encryption, packet.subarray(nonceAt, bodyAt), {
    authTagLength: tagBytes,
  });
  decipher.setAAD(additionalData(gateId, packet.subarray(0, hintBytes)));
  decipher.setAuthTag(packet.subarray(tagAt));
  const body = decipher.update(packet.subarray(bodyAt, tagAt));
  try {
    decipher.final();
  } catch {
    return { kind: "forged" };
  }
  const request = decodeBody(body);
  return request === undefined ? { kind: "malformed" } : { kind: "value", request };
}

function encodeBody(request: Spa1Request): Buffer {
  const { certBind } = request;
  if (certBind !== undefined && certBind.length !== certBindBytes) {
    throw new RangeError(`certBind has ${certBindBytes} bytes, not ${certBind.length}`);
  }
  const body = Buffer.alloc(bodyBytes);
  body[0] = version;
  body[1] = Number(Object.entries(actions).find(([, action]) => action === request.action)?.[0]);
  body.writeUInt16BE(
    (request.address === undefined ? flagHeaderSource : 0) | (request.clockless ? flagClockless : 0),
    2,
  );
  body.writeBigUInt64BE(BigInt(request.timestampMs), 4);
  body.writeBigUInt64BE(BigInt(request.counter), 12);
  if (request.address !== undefined) body.set(ipBytes(request.address), 20);
  body.writeUInt16BE(request.sourcePort, 36);
  body.writeUInt16BE(request.serviceId, 38);
  body.writeUInt16BE(request.windowSeconds, 40);
  if (certBind !== undefined) body.set(certBind, 42);
  return body;
}

function isAction(number: number): number is keyof typeof actions {
  return number in actions;
}

function decodeBody(body: Buffer): Spa1Request | undefined {
  const type = body.readUInt8(1);
  const flags = body.readUInt16BE(2);
  const timestamp = body.readBigUInt64BE(4);
  const counter = body.readBigUInt64BE(12);
  if (body[0] !== version || !isAction(type) || flags > (flagHeaderSource | flagClockless)) return undefined;
  if (timestamp > Number.MAX_SAFE_INTEGER || counter > Number.MAX_SAFE_INTEGER) return undefined;
  const unspecified = isUnspecified(body, 20);
  // The flag and the unspecified address say the same: the source is that of the packet's header.
  if ((flags & flagHeaderSource) !== 0 && !unspecified) return undefined;
  const certBind = body.subarray(42, 42 + certBindBytes);
  return {
    action: actions[type],
    clockless: (flags & flagClockless) !== 0,
    timestampMs: Number(timestamp),
    counter: Number(counter),
    address: unspecified ? undefined : ipFromBytes(body, 20),
    sourcePort: body.readUInt16BE(36),
    serviceId: body.readUInt16BE(38),
    windowSeconds: body.readUInt16BE(40),
    certBind: certBind.every((byte) => byte === 0) ? undefined : certBind,
  };
}
