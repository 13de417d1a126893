import type { IpAddress } from "./ip-address.ts";

/** Why a knock was refused. For the log and for counting only: nothing is ever sent back. */
export const refusals = {
  malformed: "no packet of this format",
  "unknown-device": "of no device that is known here",
  "wrong-key": "not made with the device's key, or not for this gate",
  stale: "made too long ago or in the future: the device's clock or the gate's is wrong, or it is a replay",
  replayed: "was accepted before",
  "too-old": "the device has sent too many others since",
  "clock-required": "says that the device has no clock, which is not allowed to it",
  "source-mismatch": "is for another address than the one it comes from",
  "source-required": "does not say which address it is for, which is required",
  "address-not-registered": "comes from an address that is not registered for the device",
  "service-not-granted": "asks for a service that is not granted to the device",
  "counters-lost": "was made before the gate lost its memory of what it accepted",
  unsure: "was made just before the machine stopped without warning, and may have been accepted then",
  "not-allowed": "asks for something that is not offered in this format",
  overloaded: "came while too many others were being checked",
} as const;
export type Refusal = keyof typeof refusals;

/** A knock that is to be carried out. */
export interface AcceptedKnock {
  readonly kind: "accepted";
  readonly action: "open" | "close" | "extend";
  /** Who knocked: a device's name, or the name of what shares a password. */
  readonly device: string;
  readonly address: IpAddress;
  /** The port the device will connect from; 0 for any. */
  readonly sourcePort: number;
  /** The server's ports that are asked for. */
  readonly ports: readonly number[];
  /** Within the allowed maximum. */
  readonly windowSeconds: number;
  /** The first 6 bytes of SHA-256 over the public key of the certificate that the device will show; `undefined` when it did not say. */
  readonly certBind: Uint8Array | undefined;
  /** When it was made, ms since 1970, as its packet says and is held to; `undefined` where nothing but a counter or digest tells it from a replay. */
  readonly madeAtMs: number | undefined;
}

export interface RefusedKnock {
  readonly kind: "refused";
  readonly reason: Refusal;
  /** The device, where the packet proved to be of it; never a guess. */
  readonly device: string | undefined;
}

export type Verdict = AcceptedKnock | RefusedKnock;

export function refused(reason: Refusal, device?: string): RefusedKnock {
  return { kind: "refused", reason, device };
}

/** Where a packet came from. */
export interface KnockSource {
  readonly address: IpAddress;
  readonly port: number;
}

/** What a window may last. */
export interface WindowLimits {
  readonly windowSecondsDefault: number;
  readonly windowSecondsMax: number;
}

/** The asked-for seconds (0 for none in particular) within the limits. */
export function windowSeconds(
  asked: number,
  { windowSecondsDefault, windowSecondsMax }: WindowLimits,
): number {
  return Math.min(asked === 0 ? windowSecondsDefault : asked, windowSecondsMax);
}
