import type { LoadedSession } from "@postern/core/session-store";
import { parseSharedFilter } from "@postern/mqtt/topics";
import { ReasonCode } from "@postern/mqtt/reason-codes";

import type { BrokerContext } from "./context.ts";
import type { Limits } from "./limits.ts";
import type { Identity, Permissions } from "./ports.ts";
import type { Router } from "./router.ts";
import { neverExpires, Session } from "./session.ts";
import type { Subscription } from "./subscription.ts";
import { WheelTimer } from "./timer-wheel.ts";
import { TakeOvers } from "./take-overs.ts";
import type { Wills } from "./wills.ts";

export interface OpenRequest {
  readonly clientId: string;
  readonly identity: Identity;
  readonly limits: Limits;
  readonly protocolVersion: 3 | 4 | 5;
  readonly cleanStart: boolean;
  /** Already capped by the limits. */
  readonly expirySeconds: number;
  readonly permissions: Permissions;
}

export type OpenResult =
  | { readonly kind: "opened"; readonly session: Session; readonly present: boolean }
  | { readonly kind: "refused"; readonly reasonCode: number; readonly reason: string };

/** Opens, resumes, hands over, expires and forgets sessions. */
export class SessionRegistry {
  readonly #context: BrokerContext;
  readonly #router: Router;
  readonly #wills: Wills;
  readonly #takeOvers: TakeOvers;

  constructor(context: BrokerContext, router: Router, wills: Wills) {
    this.#context = context;
    this.#router = router;
    this.#wills = wills;
    this.#takeOvers = new TakeOvers(context.limits.takeOversPerMinuteMax, context.ports.clock);
  }

  /** Brings back what the store kept. What was connected when the broker stopped counts as disconnected now. */
  load(stored: Iterable<LoadedSession>): void {
    for (const loaded of stored) this.#load(loaded);
  }

  /** The session for a CONNECT that was authenticated. @see MQTT 5.0 §3.1.2.4, §3.1.4 */
  open(request: OpenRequest): OpenResult {
    const { sessions } = this.#context;
    const known = sessions.get(request.clientId);
    if (known !== undefined && !ownedBy(known, request.identity)) {
      return refused(ReasonCode.notAuthorized, "the client id belongs to a session of another identity");
    }
    if (known?.connection !== undefined) {
      if (!this.#takeOvers.allow(request.clientId))
        return refused(ReasonCode.connectionRateExceeded, "too many take-overs (takeOversPerMinuteMax)");
      known.connection.takenOver();
    }
    const existing = sessions.get(request.clientId);
    if (existing !== undefined && request.cleanStart) this.end(existing);
    else if (existing !== undefined)
      return { kind: "opened", session: this.#resume(existing, request), present: true };
    return this.#create(request);
  }

  /** Subscribes, in place of an earlier subscription to the same filter. */
  subscribe(subscription: Subscription): void {
    const { topics, ports, line } = this.#context;
    const { session, key, options } = subscription;
    const old = session.subscriptions.get(key);
    if (old !== undefined) topics.tree.remove(old);
    session.subscriptions.set(key, subscription);
    topics.tree.add(subscription);
    if (!session.durable) return;
    ports.store.putSubscription(session.number, key, options);
    line.touch();
  }

  /** Ends a subscription, with what it is still owed of retained messages. */
  unsubscribe({ session, key }: Pick<Subscription, "session" | "key">): void {
    const { topics, ports, line } = this.#context;
    const subscription = session.subscriptions.get(key);
    if (subscription === undefined) return;
    session.subscriptions.delete(key);
    session.replays?.delete(key);
    topics.tree.remove(subscription);
    if (!session.durable) return;
    ports.store.deleteSubscription(session.number, key);
    line.touch();
  }

  /** The session's connection is gone; `lost` says that the client did not take its leave. */
  detach(session: Session, lost: boolean): void {
    session.connection = undefined;
    if (this.#context.closing) {
      this.#wills.keepForNextStart(session.clientId, session.expirySeconds);
      session.disconnectedAtMs = this.#context.nowMs;
      session.save();
      return;
    }
    if (lost) this.#wills.connectionLost(session.clientId, session.expirySeconds);
    else this.#wills.cancel(session.clientId);
    if (!session.durable || session.expirySeconds === 0) {
      this.end(session);
      return;
    }
    session.outbox.suspend();
    session.disconnectedAtMs = this.#context.nowMs;
    session.save();
    this.#expireAfter(session, session.expirySeconds * 1_000);
    this.#context.replays.goOn(session);
  }

  /** The sessions of an identity that is not anonymous. Looks at every session when it has any. */
  of(identityName: string): Session[] {
    const { sessions, usages } = this.#context;
    if (usages.sessionsOf(identityName) === 0) return [];
    return [...sessions.values()].filter(({ owner, anonymous }) => owner === identityName && !anonymous);
  }

  /** Forgets the session and all it holds. Its will, if one is pending, is due now. */
  end(session: Session): void {
    const { sessions, usages, topics, ports, line, wheel } = this.#context;
    this.#wills.fire(session.clientId);
    if (session.expiryTimer !== undefined) wheel.clear(session.expiryTimer);
    for (const subscription of session.subscriptions.values()) topics.tree.remove(subscription);
    const leftOver = session.outbox.clear();
    session.subscriptions.clear();
    session.replays = undefined;
    sessions.delete(session.clientId);
    usages.release(session.owner);
    if (session.durable) {
      ports.store.deleteSession(session.number);
      line.touch();
    }
    this.#router.handOver(leftOver);
  }

  #create(request: OpenRequest): OpenResult {
    const { sessions, usages, limits } = this.#context;
    const { identity, permissions } = request;
    const count = usages.sessionsOf(identity.name);
    if (sessions.size >= limits.sessionsMax) return refused(ReasonCode.serverBusy, "sessionsMax is reached");
    if (!identity.anonymous && count >= limits.sessionsPerIdentityMax)
      return refused(ReasonCode.quotaExceeded, "sessionsPerIdentityMax is reached");
    if (count >= (permissions.limits.sessionsMax ?? Infinity))
      return refused(ReasonCode.quotaExceeded, "sessionsMax of its role is reached");
    // A will of a session that ended with the last run of the server: due now, whoever comes under its name.
    this.#wills.fire(request.clientId);
    const session = new Session(this.#context, {
      number: this.#context.takeSessionNumber(),
      clientId: request.clientId,
      identity,
      protocolVersion: request.protocolVersion,
      expirySeconds: request.expirySeconds,
      limits: request.limits,
      queue: request.expirySeconds === 0 ? undefined : { nextPosition: 1, queuedCount: 0, queuedBytes: 0 },
    });
    this.#add(session);
    session.save();
    return { kind: "opened", session, present: false };
  }

  #add(session: Session): void {
    this.#context.sessions.set(session.clientId, session);
  }

  #resume(session: Session, request: OpenRequest): Session {
    if (session.expiryTimer !== undefined) this.#context.wheel.clear(session.expiryTimer);
    session.expiryTimer = undefined;
    this.#wills.cancel(session.clientId);
    session.identity = request.identity;
    session.limits = request.limits;
    session.protocolVersion = request.protocolVersion;
    session.expirySeconds = request.expirySeconds;
    session.disconnectedAtMs = null;
    session.save();
    return session;
  }

  #load(loaded: LoadedSession): void {
    const { number, session: stored } = loaded;
    const { limits, nowMs, topics } = this.#context;
    const session = new Session(this.#context, {
      number,
      clientId: stored.clientId,
      identity: { name: stored.owner, anonymous: isAnonymousOwner(stored.owner) },
      protocolVersion: stored.protocolVersion,
      expirySeconds: stored.expirySeconds,
      limits,
      queue: loaded,
    });
    for (const [key, options] of loaded.subscriptions) {
      const shared = parseSharedFilter(key);
      if (shared === "invalid") continue;
      const subscription: Subscription = {
        session,
        key,
        filter: shared?.filter ?? key,
        shareName: shared?.group,
        options,
      };
      session.subscriptions.set(key, subscription);
      topics.tree.add(subscription);
    }
    session.restoreInbound(loaded.inboundPacketIds);
    this.#add(session);
    session.disconnectedAtMs = stored.disconnectedAtMs ?? nowMs;
    if (stored.disconnectedAtMs === null) session.save();
    const leftMs = stored.expirySeconds * 1_000 - (nowMs - session.disconnectedAtMs);
    if (leftMs > 0) this.#expireAfter(session, leftMs);
    else this.#expire(session);
  }

  #expireAfter(session: Session, delayMs: number): void {
    if (session.expirySeconds === neverExpires) return;
    const timer = new WheelTimer(() => this.#expire(session));
    session.expiryTimer = timer;
    this.#context.wheel.set(timer, delayMs);
  }

  #expire(session: Session): void {
    // The time of the last input may be long ago, and the will's expiry counts from now.
    this.#context.readClock();
    this.#context.stats.sessionsExpired += 1;
    this.end(session);
  }
}

/** The name under which sessions of listeners without authentication are kept; no device can have it. */
const anonymousOwner = "";

function isAnonymousOwner(owner: string): boolean {
  return owner === anonymousOwner;
}

function ownedBy(session: Session, identity: Identity): boolean {
  return identity.anonymous ? session.anonymous : !session.anonymous && session.owner === identity.name;
}

function refused(reasonCode: number, reason: string): OpenResult {
  return { kind: "refused", reasonCode, reason };
}
