import type { Properties, QoS } from "@postern/mqtt/packets";

import type { SealRule } from "./sealing/rules.ts";
import type { StaplePolicy } from "./staple-check.ts";

/** Who is there: retained on a topic, and changed by the server when the device vanishes. */
export interface StatusOptions {
  /** `devices/<device>/status` unless given. */
  readonly topic?: string;
  readonly online?: string;
  readonly offline?: string;
}

export interface SealOptions {
  /** A directory of this device's own: how far it has counted, what it has accepted, its newest keys. Beside the bundle unless given. */
  readonly state?: string;
  /** What is to be sealed, whatever the key authority says, or before it has said anything. */
  readonly rules?: readonly SealRule[];
  /** Public keys or certificates (PEM) of those who may give this device keys of groups; those of the bundle unless given. */
  readonly authorities?: readonly string[];
}

export interface ConnectOptions {
  /** Ends the device, and everything that waits, with the signal's reason. */
  readonly signal?: AbortSignal;
  /** The private key (PEM) for a bundle that holds none. */
  readonly key?: string;
  /** Where a bundle that was given as an object is kept: needed to renew its certificate. */
  readonly bundleFile?: string;
  /** The device's name unless given. A session is found again by it. */
  readonly clientId?: string;
  /** How long the server keeps the session without a connection; a day unless given, 0 for none. */
  readonly sessionExpirySeconds?: number;
  readonly keepAliveSeconds?: number;
  readonly connectTimeoutMs?: number;
  /** Return before there is a connection, and go on trying as long as nobody is reached. */
  readonly offline?: boolean;
  /** A topic that says whether the device is there; `true` for the usual one. */
  readonly status?: boolean | StatusOptions;
  /** `require`: only servers that prove that their certificate is not revoked. `soft` unless given. */
  readonly staple?: StaplePolicy;
  /** Seal what is published and open what is received; as the bundle says unless given, and not at all with `false`. */
  readonly seal?: SealOptions | false;
  /** Renew the certificate by itself; true unless given. */
  readonly renew?: boolean;
  /** A directory where messages with QoS 1 and 2 are kept until the server has them, over a restart too. */
  readonly store?: string;
  /** How many messages with QoS 1 and 2 from the server may wait to be taken; 64 unless given. */
  readonly receiveMaximum?: number;
  /** The largest packet to take from the server; 1 MiB unless given. */
  readonly packetBytesMax?: number;
  /** How many messages may wait to be sent; 1,000 unless given. */
  readonly queueMax?: number;
  /** How long to wait before connecting again for the first time; a second unless given, then ever longer. */
  readonly retryMsMin?: number;
}

export interface PublishOptions {
  /** 1 unless given. */
  readonly qos?: QoS;
  readonly retain?: boolean;
  /** After so long the server need not deliver it any more. */
  readonly expirySeconds?: number;
  /** Of MQTT 5. */
  readonly properties?: Properties;
  readonly signal?: AbortSignal;
}

export interface SubscribeOptions {
  /** At most; 1 unless given. */
  readonly qos?: QoS;
  readonly signal?: AbortSignal;
  /** Not what this device publishes itself. */
  readonly noLocal?: boolean;
  /** Retained messages: 0 always, 1 for a new subscription, 2 never. */
  readonly retainHandling?: 0 | 1 | 2;
  /** How many messages with QoS 0 may wait to be taken; 1,000 unless given. */
  readonly bufferMax?: number;
  /** Leave the subscription with the server when the loop ends, so that a later one misses nothing. */
  readonly keep?: boolean;
}
