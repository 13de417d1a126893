import type { ListenerOptions, RunningListener } from "../listeners/listener.ts";
import type { TlsSessions } from "../listeners/tls-sessions.ts";
import type { Carrier } from "./carrier.ts";

/** A listener that several threads have: this one, and those that carry connections. */
export class SharedListener implements RunningListener {
  readonly #own: RunningListener;
  readonly #number: number;
  readonly #options: ListenerOptions;
  readonly #sessions: TlsSessions | undefined;
  readonly #carrierShares: number;
  /** Those that run; more may come. */
  readonly #carriers: readonly Carrier[];
  readonly #onClose: () => void;

  constructor(
    own: RunningListener,
    number: number,
    parts: {
      readonly options: ListenerOptions;
      readonly sessions: TlsSessions | undefined;
      readonly carrierShares: number;
      readonly carriers: readonly Carrier[];
      readonly onClose: () => void;
    },
  ) {
    this.#own = own;
    this.#number = number;
    this.#options = parts.options;
    this.#sessions = parts.sessions;
    this.#carrierShares = parts.carrierShares;
    this.#carriers = parts.carriers;
    this.#onClose = parts.onClose;
  }

  get name(): string {
    return this.#own.name;
  }

  get url(): string {
    return this.#own.url;
  }

  get port(): number {
    return this.#own.port;
  }

  get connectionCount(): number {
    let count = this.#own.connectionCount;
    for (const carrier of this.#carriers) count += carrier.connectionCountOf(this.#number);
    return count;
  }

  /** Has the carrier listen there too. @throws the system's error when it cannot. */
  async extendTo(carrier: Carrier): Promise<void> {
    const options = { ...this.#options, port: this.port, shares: this.#carrierShares };
    await carrier.listen(this.#number, options, this.#sessions?.ticketKeys);
  }

  reloadTls(): void {
    this.#own.reloadTls();
    const material = this.#options.tls?.();
    if (material === undefined) return;
    for (const carrier of this.#carriers) carrier.reloadTls(this.#number, material);
  }

  /** The keys are the same everywhere, and follow those of this thread. */
  dropTickets(): void {
    this.#own.dropTickets();
  }

  async close(): Promise<void> {
    this.#onClose();
    const number = this.#number;
    await Promise.all([this.#own.close(), ...this.#carriers.map((carrier) => carrier.closeListener(number))]);
  }

  cut(): void {
    this.#own.cut();
    for (const carrier of this.#carriers) carrier.cutListener(this.#number);
  }
}
