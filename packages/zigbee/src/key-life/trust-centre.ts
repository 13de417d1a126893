import { KeyType } from "../aps/aps-command.ts";
import { type Eui64, eui64At } from "../eui64.ts";
import { keyVerifyHash } from "../security/link-key.ts";
import { type NetworkKey, NetworkKeys } from "./network-keys.ts";

/** What stands in the place of a trust centre where there is none. @see Zigbee §4.4.3.1 */
const nobody = eui64At(new Uint8Array(8).fill(0xff), 0);

/** Which link keys devices bring along. @see thesis 6.3 */
export type PreconfiguredKeys =
  | { readonly kind: "none" }
  | { readonly kind: "global"; readonly key: Uint8Array }
  | { readonly kind: "unique"; readonly keys: ReadonlyMap<Eui64, Uint8Array> };

/** What a trust centre, or a router of a distributed network, lets happen. */
export interface TrustCentrePolicy {
  /** Distributed: every router hands out the network key, and there are no link keys of pairs. */
  readonly model: "centralized" | "distributed";
  /** Residential: without a link key the network key goes out in clear. Commercial: it never does. @see thesis 6.5 */
  readonly mode: "residential" | "commercial";
  readonly preconfigured: PreconfiguredKeys;
  /** Master keys, with which a device without a link key establishes one (SKKE). Commercial mode. */
  readonly masterKeys: ReadonlyMap<Eui64, Uint8Array>;
  /** Who may join; `undefined`: anybody. The trust centre's access control list. @see thesis 6.7 */
  readonly allowed: ReadonlySet<Eui64> | undefined;
  /** Whether a device that knows no network key any more may ask for it: always, only under a key of its own, or never. */
  readonly unsecuredRejoin: "any-key" | "own-key" | "refused";
  /** Whether a pre-configured link key is worth one join only. @see thesis 6.6 No key re-using control */
  readonly oneJoinForEachKey: boolean;
  /** Whether a device gets a link key drawn for it after it has joined. */
  readonly issuesLinkKeys: boolean;
  /** Time that a device has to show that it holds the network key. @see thesis 6.5, Zigbee apsSecurityTimeOutPeriod */
  readonly authenticationUs: number;
  readonly devicesMax: number;
}

/** How a key is to be protected on its way. */
export type KeyProtection =
  | { readonly kind: "clear" }
  | { readonly kind: "key-transport" | "key-load"; readonly linkKey: Uint8Array };

/** What the trust centre wants to be sent. */
export type TrustCentreAction =
  | {
      readonly kind: "transport-key";
      readonly device: Eui64;
      readonly keyType: number;
      readonly key: Uint8Array;
      readonly sequence: number;
      readonly protection: KeyProtection;
    }
  | { readonly kind: "establish-key"; readonly device: Eui64; readonly masterKey: Uint8Array }
  | { readonly kind: "remove-device"; readonly device: Eui64; readonly reason: RefusalReason }
  | {
      readonly kind: "confirm-key";
      readonly device: Eui64;
      readonly status: number;
      readonly linkKey: Uint8Array;
    }
  | { readonly kind: "switch-key"; readonly sequence: number };

/** Why a device does not get a key. */
export type RefusalReason =
  | "not-allowed"
  | "table-full"
  | "no-link-key"
  | "link-key-used"
  | "rejoin-refused"
  | "time-limit"
  | "wrong-hash";

/**
 * How far a device has come:
 *
 *     establishing ──SKKE──► keyed ──protected frame──► authenticated ──Request Key──► issued ──Verify Key──► verified
 *          └──────time limit─────┴──► removed
 */
export type DeviceStage = "establishing" | "keyed" | "authenticated" | "issued" | "verified";

/** A device as the trust centre knows it. */
export interface KnownDevice {
  readonly address: Eui64;
  stage: DeviceStage;
  /** What it shares with the trust centre; `undefined`: nothing. */
  linkKey: Uint8Array | undefined;
  /** Where its link key comes from. A key of the device alone was drawn, established, or is its unique one. */
  linkKeyOrigin: "none" | "global" | "unique" | "established" | "issued";
  /** Drawn for it, and not verified yet. */
  issuedKey: Uint8Array | undefined;
  /** When it has to be authenticated. */
  deadlineUs: number;
  joins: number;
}

/** How a device comes: it associates, or rejoins with or without protection by the network key. */
export type JoinKind = "association" | "secured-rejoin" | "unsecured-rejoin";

/**
 * The keys of a network from its first to its last device, without any radio: is told what happens, returns what to send. Time is
 * handed in, in microseconds. @see thesis 6.3, 6.5; Zigbee §4.6.3, §4.7
 */
export class TrustCentre {
  readonly address: Eui64;
  readonly policy: TrustCentrePolicy;
  readonly networkKeys: NetworkKeys;
  readonly #random: (count: number) => Uint8Array;
  readonly #devices = new Map<Eui64, KnownDevice>();
  readonly #usedKeys = new Set<Eui64>();
  readonly refusals: { readonly device: Eui64; readonly reason: RefusalReason }[] = [];

  /** `networkKeys`: those of a router of a distributed network, which hands out what it was given itself. */
  constructor(
    address: Eui64,
    policy: TrustCentrePolicy,
    random: (count: number) => Uint8Array,
    networkKeys?: NetworkKeys,
  ) {
    this.address = policy.model === "distributed" ? nobody : address;
    this.policy = policy;
    this.#random = random;
    this.networkKeys = networkKeys ?? new NetworkKeys();
    if (networkKeys !== undefined) return;
    const isHighSecurity = policy.mode === "commercial" && policy.model === "centralized";
    this.networkKeys.store(random(16), 0, isHighSecurity ? "high-security" : "standard");
  }

  device(address: Eui64): KnownDevice | undefined {
    return this.#devices.get(address);
  }

  get devices(): readonly KnownDevice[] {
    return [...this.#devices.values()];
  }

  /** Whether there is room for a device that is not known yet. */
  get hasRoom(): boolean {
    return this.#devices.size < this.policy.devicesMax;
  }

  /** Why `device` would not get the key; asked before its association is answered, so that no address is wasted on it. */
  refusal(device: Eui64, kind: JoinKind = "association"): RefusalReason | undefined {
    const { policy } = this;
    const known = this.#devices.get(device);
    if (policy.allowed?.has(device) === false) return "not-allowed";
    if (known === undefined && !this.hasRoom) return "table-full";
    if (kind === "unsecured-rejoin") {
      const own = known?.linkKeyOrigin !== undefined && !["none", "global"].includes(known.linkKeyOrigin);
      if (policy.unsecuredRejoin === "refused" || known === undefined) return "rejoin-refused";
      if (policy.unsecuredRejoin === "own-key" && !own) return "rejoin-refused";
      return undefined;
    }
    if (kind === "secured-rejoin") return undefined;
    if (policy.oneJoinForEachKey && this.#usedKeys.has(device)) return "link-key-used";
    const hasKey = this.#preconfiguredKey(device) !== undefined || policy.masterKeys.has(device);
    return hasKey || policy.mode === "residential" ? undefined : "no-link-key";
  }

  /** A device has come to the network. @see Zigbee §4.6.3.2 */
  deviceJoined(device: Eui64, kind: JoinKind, nowUs: number): TrustCentreAction[] {
    const reason = this.refusal(device, kind);
    if (reason !== undefined) return [this.#refuse(device, reason)];
    const known = this.#devices.get(device);
    if (kind === "secured-rejoin") {
      // It knows the network key: a frame under it has brought the request here.
      if (known !== undefined && known.stage === "keyed") known.stage = "authenticated";
      return [];
    }
    const preconfigured = this.#preconfiguredKey(device);
    const linkKey = kind === "unsecured-rejoin" ? (known?.linkKey ?? preconfigured) : preconfigured;
    const wasIn = known !== undefined && known.stage !== "keyed" && known.stage !== "establishing";
    const entry: KnownDevice = {
      address: device,
      // Anybody can ask in the name of a member: that must not put it on trial.
      stage: kind === "unsecured-rejoin" && wasIn ? known.stage : "keyed",
      linkKey,
      linkKeyOrigin:
        kind === "unsecured-rejoin" && known !== undefined
          ? known.linkKeyOrigin
          : preconfigured === undefined || this.policy.preconfigured.kind === "none"
            ? "none"
            : this.policy.preconfigured.kind,
      issuedKey: undefined,
      deadlineUs: nowUs + this.policy.authenticationUs,
      joins: (known?.joins ?? 0) + 1,
    };
    this.#devices.set(device, entry);
    const masterKey = this.policy.masterKeys.get(device);
    if (linkKey === undefined && masterKey !== undefined && this.policy.mode === "commercial") {
      entry.stage = "establishing";
      return [{ kind: "establish-key", device, masterKey }];
    }
    return [this.#networkKeyFor(entry)];
  }

  /** SKKE has given both sides a link key. @see Zigbee-2007 §4.4.2 */
  keyEstablished(device: Eui64, linkKey: Uint8Array): TrustCentreAction[] {
    const entry = this.#devices.get(device);
    if (entry?.stage !== "establishing") return [];
    entry.linkKey = linkKey;
    entry.linkKeyOrigin = "established";
    entry.stage = "keyed";
    return [this.#networkKeyFor(entry)];
  }

  /** A frame of the device, protected by the network key, has arrived. */
  frameProved(device: Eui64): void {
    const entry = this.#devices.get(device);
    if (entry?.stage !== "keyed") return;
    entry.stage = "authenticated";
    this.#usedKeys.add(device);
  }

  /** The device asks for a link key of its own. @see Zigbee §4.7.3.8 */
  linkKeyRequested(device: Eui64): TrustCentreAction[] {
    const entry = this.#devices.get(device);
    if (entry?.linkKey === undefined || entry.stage === "establishing" || !this.policy.issuesLinkKeys)
      return [];
    entry.issuedKey = this.#random(16);
    entry.stage = "issued";
    const protection: KeyProtection = { kind: "key-load", linkKey: entry.linkKey };
    const keyType = KeyType.trustCenterLinkKey;
    return [{ kind: "transport-key", device, keyType, key: entry.issuedKey, sequence: 0, protection }];
  }

  /** The device shows that it holds the key drawn for it. @see Zigbee §4.7.3.9 */
  keyVerified(device: Eui64, hash: Uint8Array): TrustCentreAction[] {
    const entry = this.#devices.get(device);
    // Who asks again has not heard the answer.
    const key = entry?.issuedKey ?? (entry?.linkKeyOrigin === "issued" ? entry.linkKey : undefined);
    if (entry === undefined || key === undefined) return [];
    const expected = keyVerifyHash(key);
    if (hash.length !== 16 || !expected.every((byte, index) => byte === hash[index])) {
      this.refusals.push({ device, reason: "wrong-hash" });
      return [];
    }
    entry.linkKey = key;
    entry.linkKeyOrigin = "issued";
    entry.issuedKey = undefined;
    entry.stage = "verified";
    return [{ kind: "confirm-key", device, status: 0, linkKey: key }];
  }

  /** Device and trust centre have established a link key by certificates. @see thesis 6.3, Smart Energy Annex C */
  linkKeyEstablished(device: Eui64, linkKey: Uint8Array): void {
    const entry = this.#devices.get(device);
    if (entry === undefined || entry.stage === "establishing") return;
    entry.linkKey = linkKey;
    entry.linkKeyOrigin = "established";
    entry.issuedKey = undefined;
    entry.stage = "verified";
  }

  /** A key for a pair of devices: each gets it under what it shares with the trust centre. @see thesis 6.3 */
  applicationKeyRequested(first: Eui64, second: Eui64): TrustCentreAction[] {
    const pair = [this.#devices.get(first), this.#devices.get(second)];
    const key = this.#random(16);
    return pair.flatMap((entry): TrustCentreAction[] => {
      if (entry?.linkKey === undefined || pair.includes(undefined)) return [];
      const protection: KeyProtection = { kind: "key-load", linkKey: entry.linkKey };
      const keyType = KeyType.applicationLinkKey;
      return [{ kind: "transport-key", device: entry.address, keyType, key, sequence: 0, protection }];
    });
  }

  /**
   * Draws the next network key and sends it to each device but those in `except`, under its link key. `switchKey` puts it to use
   * when the devices have had time to fetch it. @see thesis 6.3, Zigbee §4.6.3.4
   */
  updateNetworkKey(except: ReadonlySet<Eui64> = new Set()): TrustCentreAction[] {
    const active = this.#activeKey();
    const next = this.#random(16);
    const sequence = (active.sequence + 1) & 0xff;
    this.networkKeys.store(next, sequence, active.kind);
    for (const device of except) this.#devices.delete(device);
    return this.devices.flatMap((entry): TrustCentreAction[] => {
      if (entry.stage === "establishing") return [];
      const protection: KeyProtection =
        entry.linkKey === undefined ? { kind: "clear" } : { kind: "key-transport", linkKey: entry.linkKey };
      const keyType = networkKeyType(active);
      return [{ kind: "transport-key", device: entry.address, keyType, key: next, sequence, protection }];
    });
  }

  /** Everybody shall use the key of the last update; so does the caller, once the command is out. @see Zigbee §4.4.7 */
  switchKey(): TrustCentreAction[] {
    const sequence = (this.#activeKey().sequence + 1) & 0xff;
    return this.networkKeys.find(sequence) === undefined ? [] : [{ kind: "switch-key", sequence }];
  }

  /** Devices whose time to authenticate is over are removed. */
  expire(nowUs: number): TrustCentreAction[] {
    const late = this.devices.filter(
      ({ stage, deadlineUs }) => (stage === "keyed" || stage === "establishing") && deadlineUs <= nowUs,
    );
    return late.map(({ address }) => {
      this.#devices.delete(address);
      return this.#refuse(address, "time-limit");
    });
  }

  /** The device has left, or is sent away. */
  forget(device: Eui64): void {
    this.#devices.delete(device);
  }

  #refuse(device: Eui64, reason: RefusalReason): TrustCentreAction {
    this.refusals.push({ device, reason });
    return { kind: "remove-device", device, reason };
  }

  #preconfiguredKey(device: Eui64): Uint8Array | undefined {
    const { preconfigured } = this.policy;
    if (preconfigured.kind === "none") return undefined;
    return preconfigured.kind === "global" ? preconfigured.key : preconfigured.keys.get(device);
  }

  #activeKey(): NetworkKey {
    const { active } = this.networkKeys;
    if (active === undefined) throw new TypeError("a trust centre always has a network key");
    return active;
  }

  #networkKeyFor({ address, linkKey }: KnownDevice): TrustCentreAction {
    const active = this.#activeKey();
    return {
      kind: "transport-key",
      device: address,
      keyType: networkKeyType(active),
      key: active.bytes,
      sequence: active.sequence,
      protection: linkKey === undefined ? { kind: "clear" } : { kind: "key-transport", linkKey },
    };
  }
}

function networkKeyType({ kind }: NetworkKey): number {
  return kind === "high-security" ? KeyType.highSecurityNetworkKey : KeyType.standardNetworkKey;
}
