import type { Message } from "./message.ts";

interface Waiting {
  readonly message: Message;
  /** Called when the application has taken the message. */
  readonly settle: () => void;
}

interface Reader {
  readonly resolve: (result: IteratorResult<Message, undefined>) => void;
  readonly reject: (error: Error) => void;
}

export interface SubscriptionPorts {
  readonly filter: string;
  /** So many messages with QoS 0 wait at most; of more, the oldest are dropped. */
  readonly bufferMax: number;
  readonly onDropped: () => void;
  /** Called once when the application wants no more. */
  readonly onEnd: () => void;
}

/**
 * The messages of one filter, to be taken one after another with `for await`. A message with QoS 1 or 2 is acknowledged when the loop
 * asks for the next one, or ends: what a process did not finish comes again. Leaving the loop ends the subscription.
 */
export class Subscription implements AsyncIterableIterator<Message, undefined>, AsyncDisposable {
  readonly filter: string;
  /** Resolves when the server has granted it, with the QoS that it gives; rejects when it has not. */
  readonly ready: Promise<number>;
  readonly #ports: SubscriptionPorts;
  readonly #granted = Promise.withResolvers<number>();
  readonly #buffer: Waiting[] = [];
  readonly #readers: Reader[] = [];
  #buffered0 = 0;
  #dropped = 0;
  #settleLast: (() => void) | undefined;
  #ended = false;
  #failure: Error | undefined;

  constructor(ports: SubscriptionPorts) {
    this.filter = ports.filter;
    this.#ports = ports;
    this.ready = this.#granted.promise;
    // Whoever does not wait for it hears of it from the loop.
    this.ready.catch(() => {});
  }

  /** How many messages with QoS 0 were dropped because nobody took them. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Hands over a message; `settle` is called when it was taken. */
  offer(message: Message, settle: () => void): void {
    if (this.#ended) return settle();
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      this.#settleLast = settle;
      reader.resolve({ done: false, value: message });
      return;
    }
    this.#buffer.push({ message, settle });
    if (message.qos === 0 && ++this.#buffered0 > this.#ports.bufferMax) this.#dropOldest();
  }

  #dropOldest(): void {
    const index = this.#buffer.findIndex(({ message }) => message.qos === 0);
    const [oldest] = this.#buffer.splice(index, 1);
    this.#buffered0--;
    this.#dropped++;
    oldest?.settle();
    this.#ports.onDropped();
  }

  grant(qos: number): void {
    this.#granted.resolve(qos);
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    this.#settle();
    const waiting = this.#buffer.shift();
    if (waiting !== undefined) {
      if (waiting.message.qos === 0) this.#buffered0--;
      this.#settleLast = waiting.settle;
      return Promise.resolve({ done: false, value: waiting.message });
    }
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  /** What a loop calls that is left: the message in hand counts as taken, and no more come. */
  return(): Promise<IteratorResult<Message, undefined>> {
    this.#settle();
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /** Ends the loop with `error`, and the subscription. */
  fail(error: Error): void {
    if (this.#ended) return;
    this.#failure = error;
    this.#granted.reject(error);
    this.#end();
  }

  /** The device is closed: what waits is not acknowledged and comes again, and the loop ends without an error. */
  close(): void {
    this.#ended = true;
    this.#buffer.length = 0;
    this.#granted.reject(this.#failure ?? new DOMException("the device was closed", "AbortError"));
    this.#release();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    // Nobody will take them; unacknowledged, they would hold back those of other subscriptions.
    for (const { settle } of this.#buffer.splice(0)) settle();
    this.#buffered0 = 0;
    this.#release();
    this.#ports.onEnd();
  }

  #release(): void {
    for (const { resolve, reject } of this.#readers.splice(0)) {
      if (this.#failure === undefined) resolve({ done: true, value: undefined });
      else reject(this.#failure);
    }
  }

  #settle(): void {
    const settle = this.#settleLast;
    this.#settleLast = undefined;
    settle?.();
  }
}
