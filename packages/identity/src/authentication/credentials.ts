/** The parts of a CONNECT, or of an AUTH, and of its connection that decide who it is; see the broker's ports. */
export interface CredentialsRequest {
  readonly peer: {
    readonly listener: string;
    readonly anonymousAllowed: boolean;
    /** Secrets may be sent: TLS, a Unix socket, or a listener whose owner says that it does not matter. */
    readonly confidential: boolean;
    /** A listener in plain text that takes passwords encrypted to the server's key. */
    readonly sealedPasswords?: boolean | undefined;
    /** Textual IP address; empty for a Unix socket. */
    readonly address: string;
    readonly port: number;
    /** DER of the leaf that the client presented; TLS proved that it holds the key, and nothing else is taken from TLS. */
    readonly certificate: Uint8Array | undefined;
    /** What the client sent beside it (DER); none on a resumed connection. */
    readonly intermediates?: (() => readonly Uint8Array[]) | undefined;
    /** The PSK identity whose key TLS proved the client to have. */
    readonly pskIdentity?: string | undefined;
  };
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
}

/** Who somebody proved to be. */
export interface ProvenIdentity {
  readonly name: string;
  readonly anonymous: boolean;
  /** Of somebody who is not in the device registry. */
  readonly roles?: readonly string[];
  readonly groups?: readonly string[];
}

export interface Accepted {
  readonly kind: "accepted";
  readonly identity: ProvenIdentity;
  /** Wall clock, ms: when the proof ends; `Infinity` for one that does not. */
  readonly untilMs: number;
  /** What the proof was, for the audit log. */
  readonly by: string;
}

export interface Refused {
  readonly kind: "refused";
  /** Of CONNACK. @see MQTT 5.0 §3.2.2.2 */
  readonly reasonCode: number;
  /** For the log, not for the client. */
  readonly reason: string;
}

export type CredentialsResult = Accepted | Refused;

/** One step of an enhanced authentication. @see MQTT 5.0 §4.12 */
export type ExchangeStep =
  | { readonly kind: "continue"; readonly data: Uint8Array | undefined }
  | (Accepted & { readonly data: Uint8Array | undefined })
  | Refused;

/** The server's side of one enhanced authentication. */
export interface Exchange {
  next(data: Uint8Array | undefined): ExchangeStep | Promise<ExchangeStep>;
}

/** The reason codes of a refused CONNECT. @see MQTT 5.0 §3.2.2.2 */
export const RefusalCode = {
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  connectionRateExceeded: 0x9f,
} as const;
type RefusalCode = (typeof RefusalCode)[keyof typeof RefusalCode];

export function refused(reasonCode: RefusalCode, reason: string): Refused {
  return { kind: "refused", reasonCode, reason };
}

/** Everybody who gave no proof, on listeners that ask for none. The broker knows its anonymous sessions by the empty name. */
export const anonymous: Accepted = {
  kind: "accepted",
  identity: { name: "", anonymous: true },
  untilMs: Infinity,
  by: "nothing",
};

/** A claimed name in messages: quoted, and no longer than one line takes. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name);
}
