import type { SecureContextOptions } from "node:tls";

import type { Clock } from "@postern/core/clock";
import type { Log } from "@postern/core/log";
import type { AcceptedState, SessionStore, StoredMessage } from "@postern/core/session-store";
import type { ProtocolVersion, QoS } from "@postern/mqtt/packets";

/** Everything the broker is handed. It opens no file and reads no certificate by itself. */
export interface BrokerPorts {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: SessionStore;
  readonly authenticator: Authenticator;
  readonly authorizer: Authorizer;
  readonly payloadRules: PayloadRules | undefined;
  readonly bus: Bus | undefined;
  readonly audit: AuditLog;
  /** `undefined` when everybody may come to the door. */
  readonly doorkeeper?: Doorkeeper | undefined;
}

/** Says who may come in at all, before and beside what authenticates: where a gate hides the server, those who knocked. */
export interface Doorkeeper {
  /** Asked for each connection before anything is read of it. */
  mayConnect(address: string): boolean;
  /** Asked at CONNECT with what TLS has shown, and again with the identity that was proved. */
  mayEnter(peer: Peer, identity: Identity | undefined): boolean;
  /** The address that a device must know to be let in again, as it is seen from here; `undefined` when it need not know. */
  addressToTell(peer: Peer): string | undefined;
  /** CONNECT was accepted. */
  entered(peer: Peer, identity: Identity): void;
  /** The connection of somebody who entered has ended. */
  left(peer: Peer, identity: Identity): void;
}

/** Who a connection proved to be. Two connections with the same `name` are the same device or person. */
export interface Identity {
  readonly name: string;
  /** True on listeners that ask for no proof: then the client id alone tells sessions apart. */
  readonly anonymous: boolean;
  /** What a directory outside says of somebody who is not in the device registry. */
  readonly roles?: readonly string[];
  readonly groups?: readonly string[];
}

/** Where a connection comes from and what its transport proved. */
export interface Peer {
  /** The listener's name in the configuration. */
  readonly listener: string;
  /** True when the listener lets clients in without proof. */
  readonly anonymousAllowed: boolean;
  /** Nobody on the way reads what is sent: TLS, a Unix socket, or a listener whose owner says that it does not matter. */
  readonly confidential: boolean;
  /** A listener in plain text that takes passwords encrypted to the server's key. */
  readonly sealedPasswords?: boolean | undefined;
  /** Textual IP address; empty for a Unix socket. */
  readonly address: string;
  readonly port: number;
  /** The leaf certificate the client presented (DER); TLS proved that it holds the key, nothing more. */
  readonly certificate: Uint8Array | undefined;
  /** The certificates the client sent beside it (DER), asked for where they matter; none on a resumed connection. Nothing is known of them. */
  readonly intermediates?: (() => readonly Uint8Array[]) | undefined;
  /** The identity whose pre-shared key the client proved to have; such a connection has no certificate. */
  readonly pskIdentity?: string | undefined;
  /** Why TLS could not verify the chain (`CERT_HAS_EXPIRED`, …); `undefined` when it could. Never proof on its own: a resumed session skips it. */
  readonly certificateError: string | undefined;
}

export interface AuthenticateRequest {
  readonly peer: Peer;
  readonly protocolVersion: ProtocolVersion;
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
}

/** Somebody proved who they are. */
export interface Accepted {
  readonly kind: "accepted";
  readonly identity: Identity;
  /** Wall clock, ms: when the proof ends, and the connection with it (0x87); `Infinity` for one that does not end. */
  readonly untilMs: number;
  /** What the proof was, in a word or two for the audit log. */
  readonly by?: string;
}

export type AuthenticateResult =
  | Accepted
  /** `reasonCode` as in CONNACK of MQTT 5 (0x86, 0x87, …); `reason` is for the log, not for the client. */
  | { readonly kind: "refused"; readonly reasonCode: number; readonly reason: string };

/** One step of an enhanced authentication. @see MQTT 5.0 §4.12 */
export type AuthenticationStep =
  | { readonly kind: "continue"; readonly data: Uint8Array | undefined }
  | (Accepted & { readonly data: Uint8Array | undefined })
  | { readonly kind: "refused"; readonly reasonCode: number; readonly reason: string };

/** The server's side of one enhanced authentication exchange; `next` is called with each AUTH from the client. */
export interface AuthenticationExchange {
  next(data: Uint8Array | undefined): AuthenticationStep | Promise<AuthenticationStep>;
}

export interface Authenticator {
  authenticate(request: AuthenticateRequest): AuthenticateResult | Promise<AuthenticateResult>;
  /** Starts (or, on a running connection, repeats) an enhanced authentication; `undefined` when the method is not known. */
  exchange(method: string, request: AuthenticateRequest): AuthenticationExchange | undefined;
}

/** What one client may do. Its answers stay the same: whoever is to be told of a change is told by `Broker.reauthorize`. */
export interface Permissions {
  /**
   * The rights on one topic, as bits of `TopicRight`. Asked when a client publishes on another topic than before, and
   * before each delivery of a queued or retained message: an answer must cost a table look-up.
   */
  rightsOn(topic: string): number;
  /**
   * The highest QoS up to `qos` that is granted for everything that a filter matches; `undefined` when it is refused.
   * The filter comes without its `$share/…/` prefix; `shared` says that it had one.
   */
  grantedQoS(filter: string, qos: QoS, shared: boolean): QoS | undefined;
  /** Whether the session may outlive its connection. */
  readonly mayPersist: boolean;
  /** What becomes of a PUBLISH that is not permitted. */
  readonly refusedPublish: "drop" | "disconnect";
  /** Whether a Response Topic must be one that its publisher may receive. */
  readonly checksResponseTopics: boolean;
  readonly limits: PermissionLimits;
  /** What could not be granted for reasons that somebody should see, in words. */
  readonly problems: readonly string[];
}

/** What one identity may use at most, over all its connections and sessions; `undefined` sets no limit of its own. */
export interface PermissionLimits {
  readonly messagesPerSecondMax: number | undefined;
  readonly bytesPerSecondMax: number | undefined;
  readonly sessionsMax: number | undefined;
  readonly queuedBytesMax: number | undefined;
  readonly retainedMessagesMax: number | undefined;
  readonly retainedBytesMax: number | undefined;
  /** Rates that all identities with one role keep together. */
  readonly together: readonly {
    readonly role: string;
    readonly messagesPerSecondMax: number | undefined;
    readonly bytesPerSecondMax: number | undefined;
  }[];
}

export interface PermissionsRequest {
  readonly identity: Identity;
  readonly clientId: string;
}

export interface Authorizer {
  /** Asked at CONNECT, and again for each session when something has changed. */
  permissionsOf(request: PermissionsRequest): Permissions;
  /** The rights of an identity on one topic under whatever client id; the empty name stands for anonymous clients. */
  publisherRights(name: string, topic: string): number;
  /** How long a retained message is kept, unseen, whose publisher lost the right to leave it. */
  readonly purgeRetainedAfterMs: number;
}

/** What topics demand of their payloads. `undefined` as the broker's port means that no topic demands anything. */
export interface PayloadRules {
  /** What one topic demands; `undefined` for nothing. Asked once for each topic, and again after `Broker.reauthorize()`. */
  ruleOn(topic: string): PayloadRule | undefined;
  /** Takes up what was accepted before the last stop; asked once, at the start. */
  load(accepted: Iterable<AcceptedState>): void;
  /** What was accepted since the last call, by sender: to be kept together with the messages. */
  takeAccepted(): readonly AcceptedState[];
}

/** What a topic demands of its payloads. */
export interface PayloadRule {
  /** What is published there is opened on the way, and handed to nobody on a connection that others may read. */
  readonly confidential: boolean;
  /** Whether a payload that a client publishes there may pass; remembers it when it may. Never throws for what was sent. */
  check(payload: Uint8Array, from: PayloadSource): PayloadVerdict;
  /** Whether a message that was accepted earlier, maybe under another rule, may still be handed on. */
  fits(message: StoredMessage): boolean;
}

/** Where a payload comes from. */
export interface PayloadSource {
  readonly topic: string;
  /** The name of the session's identity; empty for an anonymous one. */
  readonly publisher: string;
  /** The client says that it may have sent it before (DUP): then it is no offence that it was accepted before. */
  readonly repeated: boolean;
  /** Wall clock. */
  readonly nowMs: number;
}

/** `checks` counts what was done with public keys, each a tenth of a millisecond. */
export type PayloadVerdict = { readonly checks: number } & (
  | { readonly kind: "accepted"; readonly payload: Uint8Array }
  /** It was accepted before: acknowledged, and not passed on again. */
  | { readonly kind: "repeated" }
  /** `reason` may be told to the client. */
  | { readonly kind: "refused"; readonly reasonCode: number; readonly reason: string }
);

/** Joins brokers (worker threads, later machines): each message published here is offered, those of others come in. */
export interface Bus {
  publish(message: StoredMessage, retain: boolean): void;
  /** Called once; the listener routes a message that was published elsewhere. */
  onMessage(listener: (message: StoredMessage, retain: boolean) => void): void;
}

/** A security event, for the audit log. Never holds a secret. */
export interface AuditEvent {
  readonly kind:
    | "connect-refused"
    | "connected"
    | "re-authenticated"
    | "proof-ended"
    | "backed-off"
    | "taken-over"
    | "publish-refused"
    | "subscribe-refused"
    /** A placeholder of a rule would have been filled with something that must not stand in a filter. */
    | "binding-refused"
    /** Something that was permitted before has ended. */
    | "permission-lost"
    | "protocol-error"
    | "limit-reached";
  readonly listener: string;
  readonly address: string;
  readonly clientId: string;
  readonly identity: string;
  readonly detail: string;
}

export interface AuditLog {
  record(event: AuditEvent): void;
}

/** The TLS side of a listener: read again for each `reloadTls`, so that certificates can be swapped while running. */
export interface TlsMaterial {
  readonly context: SecureContextOptions;
  /** Ask clients for a certificate; a client without one is still let through to CONNECT, where identity decides. */
  readonly requestCertificate: boolean;
  /** The OCSP answer (DER) for the server's certificate, asked for each client that wants it; `undefined` when there is none. @see RFC 6066 §8 */
  readonly staple?: (() => Uint8Array | undefined | Promise<Uint8Array | undefined>) | undefined;
}
