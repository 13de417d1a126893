import { type ApsCommand, isNetworkKeyType, KeyType } from "../aps/aps-command.ts";
import { type Eui64 } from "../eui64.ts";
import { keyVerifyHash } from "../security/link-key.ts";
import { NetworkKeys } from "./network-keys.ts";

/** How an APS command that brought a key was protected: by nothing, or by which of the device's keys. */
export type ArrivedUnder = "clear" | "network-key" | "preconfigured-key" | "link-key";

/** What a device brings along and accepts. */
export interface JoiningPolicy {
  /** Global or unique link key; `undefined`: none. */
  readonly linkKey: Uint8Array | undefined;
  readonly masterKey: Uint8Array | undefined;
  /** Whether a network key in clear is taken. A device that does joins whatever answers first. */
  readonly acceptsClearKey: boolean;
  /** Whether it asks for a link key of its own once it is in. */
  readonly requestsLinkKey: boolean;
  /** Time to wait for the network key. */
  readonly authenticationUs: number;
}

/**
 * How far a device has come in its own view:
 *
 *     outside ─associated─► waiting ─network key─► member ─asks─► requested ─link key─► verifying ─Confirm Key─► established
 *                              └─── time limit, key refused ───► outside
 */
export type JoiningStage = "outside" | "waiting" | "member" | "requested" | "verifying" | "established";

/** What the device has to do next. */
export type JoiningAction =
  | { readonly kind: "announce" }
  | { readonly kind: "request-link-key" }
  | { readonly kind: "verify-key"; readonly hash: Uint8Array }
  | { readonly kind: "leave"; readonly reason: "clear-key" | "time-limit" | "removed" }
  | { readonly kind: "key-switched" };

type TransportKey = Extract<ApsCommand, { kind: "transport-key" }>;

/** The keys of one device from outside to a link key of its own. Time is handed in. @see thesis 6.5; Zigbee §4.6.3 */
export class JoiningDevice {
  readonly policy: JoiningPolicy;
  readonly networkKeys = new NetworkKeys();
  stage: JoiningStage = "outside";
  /** The trust centre, as the first Transport Key named it. */
  trustCentre: Eui64 | undefined;
  /** What it shares with the trust centre now. */
  linkKey: Uint8Array | undefined;
  /** Application link keys by partner. */
  readonly applicationKeys = new Map<Eui64, Uint8Array>();
  #candidate: Uint8Array | undefined;
  #deadlineUs = Number.POSITIVE_INFINITY;

  constructor(policy: JoiningPolicy) {
    this.policy = policy;
    this.linkKey = policy.linkKey;
  }

  /** The drawn link key that is not confirmed yet; frames about it may be under it already. */
  get candidateKey(): Uint8Array | undefined {
    return this.#candidate;
  }

  /** Whether the device takes part in the network. */
  get isMember(): boolean {
    return this.stage !== "outside" && this.stage !== "waiting";
  }

  /** A parent has let the device in, or it asks for the network key again: it waits for the key. */
  associated(nowUs: number): void {
    this.stage = "waiting";
    this.networkKeys.clear();
    this.#deadlineUs = nowUs + this.policy.authenticationUs;
  }

  /** A key has arrived. @see Zigbee §4.4.3.2 */
  transportKey(command: TransportKey, under: ArrivedUnder): JoiningAction[] {
    if (command.key.length !== 16) return [];
    if (isNetworkKeyType(command.keyType)) return this.#networkKey(command, under);
    // A link key is worth something only if those who hold the network key could not read it.
    if (under === "clear" || under === "network-key") return [];
    if (command.keyType === KeyType.trustCenterLinkKey && this.stage === "requested") {
      this.#candidate = command.key.slice();
      this.stage = "verifying";
      return [{ kind: "verify-key", hash: keyVerifyHash(this.#candidate) }];
    }
    if (command.keyType === KeyType.applicationLinkKey && command.destination !== undefined) {
      this.applicationKeys.set(command.destination, command.key.slice());
    }
    return [];
  }

  #networkKey(command: TransportKey, under: ArrivedUnder): JoiningAction[] {
    const kind = command.keyType === KeyType.highSecurityNetworkKey ? "high-security" : "standard";
    if (this.isMember) {
      if (under === "clear") return [];
      this.networkKeys.store(command.key, command.sequence, kind);
      return [];
    }
    if (this.stage !== "waiting") return [];
    if (under === "clear" && !this.policy.acceptsClearKey) return this.#leave("clear-key");
    this.trustCentre = command.source;
    this.networkKeys.store(command.key, command.sequence, kind);
    this.stage = "member";
    this.#deadlineUs = Number.POSITIVE_INFINITY;
    const actions: JoiningAction[] = [{ kind: "announce" }];
    if (this.policy.requestsLinkKey && this.linkKey !== undefined) {
      this.stage = "requested";
      actions.push({ kind: "request-link-key" });
    }
    return actions;
  }

  /** The device was let back in under the network key that it holds. */
  rejoined(): JoiningAction[] {
    if (this.stage === "outside" || this.stage === "waiting") this.stage = "member";
    return [{ kind: "announce" }];
  }

  /** SKKE, or certificates, have given both sides a link key. */
  keyEstablished(linkKey: Uint8Array): void {
    this.linkKey = linkKey;
  }

  /** What to ask again, because no answer has come. */
  unanswered(): JoiningAction[] {
    if (this.stage === "requested") return [{ kind: "request-link-key" }];
    if (this.stage !== "verifying" || this.#candidate === undefined) return [];
    return [{ kind: "verify-key", hash: keyVerifyHash(this.#candidate) }];
  }

  /** No answer will come: the device stays a member with the link key that it has. */
  giveUpLinkKey(): void {
    if (this.stage !== "requested" && this.stage !== "verifying") return;
    this.stage = "member";
    this.#candidate = undefined;
  }

  /** The trust centre has accepted the proof. @see Zigbee §4.4.9 */
  keyConfirmed(status: number): void {
    if (this.stage !== "verifying" || this.#candidate === undefined) return;
    if (status === 0) this.linkKey = this.#candidate;
    this.#candidate = undefined;
    this.stage = status === 0 ? "established" : "member";
  }

  /** @see Zigbee §4.4.7 */
  switchKey(sequence: number): JoiningAction[] {
    return this.networkKeys.switchTo(sequence) ? [{ kind: "key-switched" }] : [];
  }

  /** The device is told to leave by somebody who may. */
  removed(): JoiningAction[] {
    return this.stage === "outside" ? [] : this.#leave("removed");
  }

  /** The time to wait for a key may be over. */
  expire(nowUs: number): JoiningAction[] {
    return this.stage === "waiting" && nowUs >= this.#deadlineUs ? this.#leave("time-limit") : [];
  }

  #leave(reason: "clear-key" | "time-limit" | "removed"): JoiningAction[] {
    this.stage = "outside";
    this.networkKeys.clear();
    this.#deadlineUs = Number.POSITIVE_INFINITY;
    return [{ kind: "leave", reason }];
  }
}
