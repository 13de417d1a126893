import type { Connection } from "./connection.ts";
import type { BrokerContext } from "./context.ts";
import type { OutboundShared } from "./outbound.ts";
import type { AuditEvent } from "./ports.ts";
import type { Publisher } from "./publisher.ts";
import type { Reauthorization } from "./reauthorization.ts";
import type { SessionRegistry } from "./session-registry.ts";
import type { Transport } from "./transport.ts";
import type { Wills } from "./wills.ts";

/** What a connection asks of the broker around it. */
export interface Core {
  readonly context: BrokerContext;
  readonly outboundShared: OutboundShared;
  readonly publisher: Publisher;
  readonly sessions: SessionRegistry;
  readonly wills: Wills;
  readonly reauthorization: Reauthorization;
  /** A rate for all connections together is set. */
  readonly throttlesAll: boolean;
  /** Resolves when all that the peer has sent by now was handed over; `undefined` when it always is. */
  heardAll(transport: Transport): Promise<void> | undefined;
  audit(kind: AuditEvent["kind"], connection: Connection, detail: string): void;
  /** The connection is gone. */
  closed(connection: Connection): void;
}
