import type { BrokerContext } from "./context.ts";
import { isPurgeDue } from "./retained-rights.ts";
import type { RetainedWalk } from "./retained-walk.ts";

/** How long messages may be looked at before the event loop turns. */
const sliceMs = 4;
const perLook = 64;

/**
 * Forgets retained messages that have expired, and those whose publishers may no longer leave them, slice by slice: with a million of
 * them to look at nobody else waits. What is not forgotten yet is nevertheless sent to nobody: whoever sends one looks at it first.
 */
export class RetainedSweep {
  readonly #context: BrokerContext;
  #walk: RetainedWalk | undefined;
  /** What there is to find may be more than when it began. */
  #again = false;

  constructor(context: BrokerContext) {
    this.#context = context;
  }

  /** Looks at all messages once; few are looked at when it returns. */
  begin(): void {
    this.#again = this.#walk !== undefined;
    if (this.#again) return;
    this.#walk = this.#context.retained.walk(undefined);
    this.#work(this.#walk);
  }

  #work(walk: RetainedWalk): void {
    const context = this.#context;
    const { clock } = context.ports;
    const endMs = clock.monotonicMs() + sliceMs;
    do this.#look(walk);
    while (!walk.isDone && clock.monotonicMs() < endMs);
    if (!walk.isDone) {
      setImmediate(() => {
        if (context.closing) return;
        context.readClock();
        this.#work(walk);
      });
      return;
    }
    this.#walk = undefined;
    if (this.#again) this.begin();
  }

  #look(walk: RetainedWalk): void {
    const { retained, nowMs, line } = this.#context;
    for (let place = 0; place < perLook && !walk.isDone; place += 1) {
      const message = walk.next();
      if (message === undefined) continue;
      if (!message.hasExpired(nowMs) && !isPurgeDue(this.#context, message)) continue;
      retained.end(message.topic);
      line.touch();
    }
  }
}
