import type { BrokerContext } from "./context.ts";
import type { Session } from "./session.ts";
import type { SessionRegistry } from "./session-registry.ts";
import type { Subscription } from "./subscription.ts";

/** Takes back what is no longer permitted, from sessions with and without a connection. */
export class Reauthorization {
  readonly #context: BrokerContext;
  readonly #sessions: SessionRegistry;

  constructor(context: BrokerContext, sessions: SessionRegistry) {
    this.#context = context;
    this.#sessions = sessions;
  }

  /** Asks the authorizer again for all sessions, and later for all retained messages. */
  all(): void {
    this.#context.permissionsVersion += 1;
    this.#recheck(this.#context.sessions.values());
    this.#context.sweep.begin();
    this.#context.line.touch();
  }

  /** Asks again for the sessions of one identity, and for what it retained. */
  of(identity: string): void {
    this.#recheck(this.#sessions.of(identity));
    if (!this.#context.retained.has(identity)) return;
    this.#context.permissionsVersion += 1;
    this.#context.sweep.begin();
  }

  #recheck(sessions: Iterable<Session>): void {
    for (const session of sessions) {
      session.forgetPermissions();
      this.recheck(session);
      // Most of those who are away stay so: their permissions are worked out when somebody asks for them.
      if (session.connection === undefined) session.forgetPermissions();
    }
  }

  /**
   * Ends what the session's permissions do not allow: subscriptions, and outliving its connection. What waits for it, retained
   * messages and its will are checked when their time has come.
   */
  recheck(session: Session): void {
    const { permissions, connection } = session;
    connection?.permissionsChanged();
    for (const subscription of session.subscriptions.values()) {
      const { filter, shareName, options } = subscription;
      const qos = permissions.grantedQoS(filter, options.qos, shareName !== undefined);
      if (qos === options.qos) continue;
      if (qos === undefined) this.#sessions.unsubscribe(subscription);
      else this.#sessions.subscribe({ ...subscription, options: { ...options, qos } });
      this.#tell(session, describe(subscription, qos));
    }
    if (!session.durable || session.expirySeconds === 0 || permissions.mayPersist) return;
    this.#tell(session, "the session ends with its connection");
    session.expirySeconds = 0;
    if (connection === undefined) this.#sessions.end(session);
    else session.save();
  }

  #tell({ clientId, owner, connection }: Session, detail: string): void {
    this.#context.ports.audit.record({
      kind: "permission-lost",
      listener: connection?.peer.listener ?? "",
      address: connection?.peer.address ?? "",
      clientId,
      identity: owner,
      detail,
    });
  }
}

function describe({ key }: Subscription, qos: number | undefined): string {
  return qos === undefined ? `subscription to ${key}` : `subscription to ${key} above QoS ${qos}`;
}
