import type { BrokerContext } from "./context.ts";
import type { RetainedReplay } from "./retained-replay.ts";
import type { Session } from "./session.ts";

/** How long retained messages may be looked up and sent before the event loop turns. */
const sliceMs = 4;

/**
 * Hands retained messages to the sessions that subscribed to them, session by session in small steps: whatever one
 * SUBSCRIBE asks for, everybody else is served in between. What a durable session is owed goes on into its queue
 * when its client is gone.
 */
export class RetainedReplays {
  readonly #context: BrokerContext;
  /** Sessions with a step to do, the next first. */
  readonly #ready = new Set<Session>();
  #scheduled = false;

  constructor(context: BrokerContext) {
    this.#context = context;
  }

  /** Begins with what a session subscribed to; small replays are done when it returns. */
  start(session: Session, replays: readonly RetainedReplay[]): void {
    if (replays.length === 0) return;
    session.replays ??= new Map();
    for (const replay of replays) {
      // What an earlier SUBSCRIBE to the same filter began is begun anew.
      session.replays.delete(replay.key);
      session.replays.set(replay.key, replay);
    }
    this.goOn(session);
  }

  /** Goes on, now that the session may have room again. */
  goOn(session: Session): void {
    if (session.replays === undefined) return;
    this.#ready.add(session);
    if (!this.#scheduled) this.#work();
  }

  #work(): void {
    const { clock } = this.#context.ports;
    const endMs = clock.monotonicMs() + sliceMs;
    // A session that is put back comes round again after the others.
    for (const session of this.#ready) {
      this.#ready.delete(session);
      if (this.#step(session)) this.#ready.add(session);
      if (clock.monotonicMs() >= endMs) break;
    }
    if (this.#ready.size === 0 || this.#context.closing) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#context.readClock();
      this.#work();
    });
  }

  /** False when there is nothing to do for the session now. */
  #step(session: Session): boolean {
    const { replays } = session;
    const [replay] = replays?.values() ?? [];
    if (replays === undefined || replay === undefined) {
      session.replays = undefined;
      return false;
    }
    if (!hasRoom(session)) return false;
    if (replay.step(session)) replays.delete(replay.key);
    return true;
  }
}

/** Without a durable session what does not go out waits in memory, so it is not even begun. */
function hasRoom({ connection, durable, outbox }: Session): boolean {
  if (connection === undefined) return durable;
  return connection.hasRoom && (durable || outbox.waitingCount === 0);
}
