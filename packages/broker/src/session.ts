import type { SessionNumber, StoredSession } from "@postern/core/session-store";

import type { Connection } from "./connection.ts";
import type { BrokerContext } from "./context.ts";
import type { Delivery } from "./delivery.ts";
import type { Limits } from "./limits.ts";
import { MemoryOutbox } from "./memory-outbox.ts";
import type { Outbox } from "./outbox.ts";
import type { Identity, Permissions } from "./ports.ts";
import { StoredOutbox } from "./stored-outbox.ts";
import type { RetainedReplay } from "./retained-replay.ts";
import { mayReceive } from "./rights.ts";
import type { Subscription } from "./subscription.ts";
import type { WheelTimer } from "./timer-wheel.ts";
import type { Usage } from "./usage.ts";

/** A session that never expires. @see MQTT 5.0 §3.1.2.11.2 */
export const neverExpires = 0xff_ff_ff_ff;

export interface SessionStart {
  readonly number: SessionNumber;
  readonly clientId: string;
  readonly identity: Identity;
  readonly protocolVersion: 3 | 4 | 5;
  readonly expirySeconds: number;
  readonly limits: Limits;
  /** Where its queue goes on; `undefined` for a session that ends with its connection. */
  readonly queue:
    | { readonly nextPosition: number; readonly queuedCount: number; readonly queuedBytes: number }
    | undefined;
}

/** The state that a client and the server keep together, across connections when it is durable. @see MQTT 5.0 §4.1 */
export class Session {
  readonly number: SessionNumber;
  readonly clientId: string;
  readonly owner: string;
  readonly anonymous: boolean;
  /** Kept in the store. */
  readonly durable: boolean;
  readonly outbox: Outbox;
  limits: Limits;
  protocolVersion: 3 | 4 | 5;
  expirySeconds: number;
  connection: Connection | undefined = undefined;
  /** Who it belongs to, as last seen; of a session that was loaded only the name is known. */
  identity: Identity;
  /** What its identity uses. */
  readonly usage: Usage;
  #permissions: Permissions | undefined = undefined;
  disconnectedAtMs: number | null = null;
  /** By the filter as subscribed. */
  readonly subscriptions = new Map<string, Subscription>();
  /** Retained messages that new subscriptions are still owed, by their key, the next first. */
  replays: Map<string, RetainedReplay> | undefined = undefined;
  /** Inbound QoS 2 packet ids that were routed and not yet released. */
  #inbound: Set<number> | undefined = undefined;
  readonly #context: BrokerContext;
  /** Runs while the session waits for its client. */
  expiryTimer: WheelTimer | undefined = undefined;

  constructor(context: BrokerContext, start: SessionStart) {
    this.#context = context;
    this.number = start.number;
    this.clientId = start.clientId;
    this.owner = start.identity.name;
    this.anonymous = start.identity.anonymous;
    this.identity = start.identity;
    this.usage = context.usages.take(this.owner, context.monotonicMs);
    this.durable = start.queue !== undefined;
    this.limits = start.limits;
    this.protocolVersion = start.protocolVersion;
    this.expirySeconds = start.expirySeconds;
    this.outbox =
      start.queue === undefined
        ? new MemoryOutbox(context, this)
        : new StoredOutbox(context, this, start.queue);
  }

  get inboundCount(): number {
    return this.#inbound?.size ?? 0;
  }

  hasInbound(packetId: number): boolean {
    return this.#inbound?.has(packetId) === true;
  }

  /** Remembers an inbound QoS 2 message. The acknowledgement of a durable session must be held until it is stored. */
  addInbound(packetId: number): void {
    this.#inbound ??= new Set();
    this.#inbound.add(packetId);
    if (!this.durable) return;
    this.#context.ports.store.putInbound(this.number, packetId);
    this.#context.line.touch();
  }

  /** False when the packet id was not known. */
  removeInbound(packetId: number): boolean {
    if (this.#inbound?.delete(packetId) !== true) return false;
    if (this.durable) {
      this.#context.ports.store.deleteInbound(this.number, packetId);
      this.#context.line.touch();
    }
    return true;
  }

  restoreInbound(packetIds: readonly number[]): void {
    if (packetIds.length > 0) this.#inbound = new Set(packetIds);
  }

  /** What its client may do: also while it is away, and before it has come at all since the broker started. */
  get permissions(): Permissions {
    this.#permissions ??= this.#context.ports.authorizer.permissionsOf({
      identity: this.identity,
      clientId: this.clientId,
    });
    return this.#permissions;
  }

  set permissions(permissions: Permissions) {
    this.#permissions = permissions;
  }

  /** Has the authorizer asked again when somebody wants to know. */
  forgetPermissions(): void {
    this.#permissions = undefined;
  }

  mayReceive(topic: string): boolean {
    return (
      mayReceive(this.permissions.rightsOn(topic)) && (this.isConfidential || !this.#isConfidential(topic))
    );
  }

  /** Nobody on the way reads what its client is sent; true also while that is away. */
  get isConfidential(): boolean {
    return this.connection?.peer.confidential !== false;
  }

  #isConfidential(topic: string): boolean {
    return this.#context.ports.payloadRules?.ruleOn(topic)?.confidential === true;
  }

  deliver(delivery: Delivery): void {
    if (delivery.message.confidential && !this.isConfidential) {
      this.#context.stats.payloadsWithheld += 1;
      return;
    }
    if (delivery.qos === 0) this.connection?.sendPublish(delivery, 0, false);
    else this.outbox.push(delivery);
  }

  /** Writes the session's record, for the next group. */
  save(): void {
    if (!this.durable) return;
    const record: StoredSession = {
      clientId: this.clientId,
      owner: this.owner,
      protocolVersion: this.protocolVersion,
      expirySeconds: this.expirySeconds,
      disconnectedAtMs: this.disconnectedAtMs,
    };
    this.#context.ports.store.putSession(this.number, record);
    this.#context.line.touch();
  }
}
