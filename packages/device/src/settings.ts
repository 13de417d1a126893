import type { Credential } from "@postern/core/bundle";
import type { Properties, ProtocolVersion, QoS } from "@postern/mqtt/packets";

import type { TlsCredentials } from "./credentials.ts";
import type { Wording } from "./explain.ts";
import type { KnockSettings } from "./knock.ts";
import type { OutgoingStore } from "./outgoing-store.ts";
import type { StaplePolicy } from "./staple-check.ts";
import type { Target } from "./target.ts";

/** Everything that a connection needs to know. */
export interface ConnectSettings {
  /** Where the server is; the others are tried when the first cannot be reached. At least one. */
  readonly targets: readonly Target[];
  readonly tls: TlsCredentials;
  /** What they are now: the certificate of a bundle may be renewed while it is in use. */
  readonly latestTls?: () => TlsCredentials;
  /** Since when our own certificate is expired; `undefined` when it is not, or there is none. */
  readonly expiredSince: string | undefined;
  /** How the bundle, if there is one, proves who we are; for messages. */
  readonly bundleProof?: Credential["kind"] | undefined;
  readonly protocolVersion: ProtocolVersion;
  readonly clientId: string;
  /** Clean Start in MQTT 5, Clean Session before. */
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly username: string | undefined;
  readonly password: Buffer | undefined;
  /** Asked for each connection: one that is sealed is good once. */
  readonly will: () => WillSettings | undefined;
  /** Of CONNECT. */
  readonly properties: Properties;
  readonly connectTimeoutMs: number;
  /** How to knock first; `undefined` where the server is not hidden. */
  readonly knock?: KnockSettings | undefined;
  readonly reconnect: boolean;
  /** Whether to try again, too, when the first connection cannot be made. */
  readonly patient?: boolean;
  /** Whether a server must prove that its certificate is not revoked; "soft" unless given. */
  readonly staple?: StaplePolicy;
  /** Where sent messages are kept until they are acknowledged; in memory unless given. */
  readonly outgoing?: OutgoingStore;
  /** How messages call what the user can change. */
  readonly wording?: Wording;
}

export interface WillSettings {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly properties: Properties;
}
