import type { LinkDevice } from "@postern/gate/link/messages";

import { enrolmentService } from "./guard.ts";

/** How often it is looked who ran out. */
const lookMs = 10_000;

/** Somebody who has no bundle yet, and may knock at the enrolment server: a token for one device, or a claim. */
export interface Visitor {
  /** No device's name: it holds a colon. */
  readonly name: string;
  readonly tenant: string;
}

export interface VisitorPorts {
  /** Somebody may knock from now on. */
  readonly came: (visitor: LinkDevice) => void;
  /** Somebody's packets are unknown from now on. */
  readonly left: (name: string) => void;
}

/** Who may knock without being a device, for the gate to know: its key is derived from the gate's by the visitor's name. */
export class Visitors implements Disposable {
  readonly #ports: VisitorPorts;
  readonly #known = new Map<string, Visitor>();
  readonly #timer: NodeJS.Timeout;
  #source: () => Iterable<Visitor> = () => [];

  constructor(ports: VisitorPorts) {
    this.#ports = ports;
    this.#timer = setInterval(() => this.look(), lookMs).unref();
  }

  /** Has those that the source names be let to knock, and nobody else. */
  follow(source: () => Iterable<Visitor>): void {
    this.#source = source;
    this.look();
  }

  /** To be called when somebody came or went. */
  look(): void {
    const gone = new Set(this.#known.keys());
    for (const visitor of this.#source()) {
      gone.delete(visitor.name);
      if (this.#known.has(visitor.name)) continue;
      this.#known.set(visitor.name, visitor);
      this.#ports.came(toldOf(visitor));
    }
    for (const name of gone) {
      this.#known.delete(name);
      this.#ports.left(name);
    }
  }

  has(name: string): boolean {
    return this.#known.has(name);
  }

  *all(): IterableIterator<LinkDevice> {
    for (const visitor of this.#known.values()) yield toldOf(visitor);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Nobody knows where it will come from: its packets may leave that open. */
function toldOf({ name, tenant }: Visitor): LinkDevice {
  return {
    name,
    tenant,
    keyVersion: 1,
    clockless: false,
    roaming: true,
    services: [enrolmentService],
    addresses: null,
  };
}
