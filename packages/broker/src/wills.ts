import type { SessionNumber, StoredWill } from "@postern/core/session-store";

import type { BrokerContext } from "./context.ts";
import { Message } from "./message.ts";
import type { Publisher } from "./publisher.ts";
import { neverExpires } from "./session.ts";
import { WheelTimer } from "./timer-wheel.ts";

interface PendingWill {
  readonly number: SessionNumber;
  will: StoredWill;
  timer: WheelTimer | undefined;
}

/**
 * The wills of all connections, by client id. They are in the store from CONNECT on, so that a crash of the broker
 * does not silence them: whoever was connected then is treated as cut off at the next start.
 * @see MQTT 5.0 §3.1.2.5, §3.1.3.2.2
 */
export class Wills {
  readonly #context: BrokerContext;
  readonly #publisher: Publisher;
  readonly #pending = new Map<string, PendingWill>();

  constructor(context: BrokerContext, publisher: Publisher) {
    this.#context = context;
    this.#publisher = publisher;
  }

  get count(): number {
    return this.#pending.size;
  }

  /** Takes up what the store kept; to be called when all sessions are there. */
  load(wills: Iterable<{ readonly number: SessionNumber; readonly will: StoredWill }>): void {
    for (const { number, will } of wills) {
      this.#pending.set(will.clientId, { number, will, timer: undefined });
      const { nowMs } = this.#context;
      const expirySeconds = this.#context.sessions.get(will.clientId)?.expirySeconds ?? 0;
      const dueAtMs = will.dueAtMs ?? nowMs + delayMs(will, expirySeconds);
      this.#schedule(will.clientId, dueAtMs);
    }
  }

  /** Keeps the will of a new connection; any older one of the client id has been settled before. */
  put(number: SessionNumber, will: StoredWill): void {
    this.#pending.set(will.clientId, { number, will, timer: undefined });
    this.#context.ports.store.putWill(number, will);
    this.#context.line.touch();
  }

  /** The client said goodbye, or is back in time: the will is not to be published. */
  cancel(clientId: string): void {
    const pending = this.#pending.get(clientId);
    if (pending === undefined) return;
    if (pending.timer !== undefined) this.#context.wheel.clear(pending.timer);
    this.#pending.delete(clientId);
    this.#context.ports.store.deleteWill(pending.number);
    this.#context.line.touch();
  }

  /** Forgets all wills of an identity that is not anonymous, also of sessions that ended with the last run of the server. */
  cancelAllOf(identityName: string): void {
    for (const [clientId, { will }] of this.#pending)
      if (will.message.publisher === identityName) this.cancel(clientId);
  }

  /** The connection ended without a goodbye: due after the delay, or when the session ends, whatever is first. */
  connectionLost(clientId: string, expirySeconds: number): void {
    const pending = this.#pending.get(clientId);
    if (pending === undefined) return;
    const wait = delayMs(pending.will, expirySeconds);
    if (wait === 0) this.fire(clientId);
    else this.#schedule(clientId, this.#context.nowMs + wait);
  }

  /** The server stops: what is not published now is published after the next start. */
  keepForNextStart(clientId: string, expirySeconds: number): void {
    const pending = this.#pending.get(clientId);
    if (pending === undefined) return;
    const dueAtMs = this.#context.nowMs + delayMs(pending.will, expirySeconds);
    this.#context.ports.store.putWill(pending.number, { ...pending.will, dueAtMs });
    this.#context.line.touch();
  }

  /** Publishes the client's will now, if it has one. */
  fire(clientId: string): void {
    const pending = this.#pending.get(clientId);
    if (pending === undefined) return;
    this.cancel(clientId);
    const { message, retain } = pending.will;
    const { publishedAtMs, expiresAtMs } = message;
    const { nowMs } = this.#context;
    // The expiry interval of a will counts from its publication.
    const lifetimeMs = expiresAtMs - publishedAtMs;
    const published = { ...message, publishedAtMs: nowMs, expiresAtMs: nowMs + lifetimeMs };
    this.#publisher.publishWill(clientId, Message.load(published), retain);
  }

  close(): void {
    for (const { timer } of this.#pending.values()) if (timer !== undefined) this.#context.wheel.clear(timer);
  }

  #schedule(clientId: string, dueAtMs: number): void {
    const pending = this.#pending.get(clientId);
    if (pending === undefined) return;
    const timer = new WheelTimer(() => {
      this.#context.readClock();
      this.fire(clientId);
    });
    pending.timer = timer;
    pending.will = { ...pending.will, dueAtMs };
    this.#context.ports.store.putWill(pending.number, pending.will);
    this.#context.line.touch();
    this.#context.wheel.set(timer, dueAtMs - this.#context.nowMs);
  }
}

function delayMs(will: StoredWill, expirySeconds: number): number {
  const session = expirySeconds === neverExpires ? Infinity : expirySeconds;
  return Math.min(will.delaySeconds, session) * 1_000;
}
