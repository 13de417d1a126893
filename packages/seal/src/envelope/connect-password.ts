import type { RecipientKey } from "../keys/recipient.ts";
import type { Binding } from "./binding.ts";
import type { Position } from "./position.ts";
import { seal } from "./seal.ts";

/** How long after it was sealed a password of CONNECT is good, and how far the client's clock may be ahead. */
export const connectPasswordMs = 60_000;

export interface ConnectPasswordPlace {
  readonly clientId: string;
  readonly username: string | undefined;
}

/** What a sealed password is bound to: the client id of its CONNECT and its user name; the client id alone where there is none, as beside a token. */
export function connectPasswordBinding({ clientId, username }: ConnectPasswordPlace): Binding {
  const sender = username === undefined || username === "" ? clientId : username;
  return { tenant: "postern connect", topic: `$connect/${clientId}`, sender, epoch: 0 };
}

/**
 * Encrypts what is to stand in CONNECT's password to the server's key: for one client id and user name, once, within a minute. Seal
 * anew for each CONNECT, with another `position` (`SequenceCounter`). Throws as `seal`.
 */
export function sealConnectPassword(
  password: Uint8Array,
  place: ConnectPasswordPlace,
  options: { readonly brokerKey: RecipientKey; readonly position: Position; readonly nowMs: number },
): Buffer {
  const { brokerKey, position, nowMs } = options;
  const protection = { mode: "encrypted", recipients: [brokerKey] } as const;
  return seal(protection, connectPasswordBinding(place), position, password, { sealedAtMs: nowMs });
}
