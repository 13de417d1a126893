import { noProperties, type ConnectPacket } from "@postern/mqtt/packets";

import { PersistentClient, type PersistentClientOptions } from "../persistent-client.ts";
import type { Address } from "../wire-client.ts";

/** What the server must know of a session. `either`: the answer that would have told was lost. */
type SessionState = "kept" | "ended" | "either";

export interface JoinOptions {
  readonly cleanStart?: boolean;
  /** The session is to outlive the connection; before MQTT 5 that is the opposite of a clean start. */
  readonly keeps?: boolean;
  readonly will?: ConnectPacket["will"];
}

/** A client with a memory of what it was promised: it knows whether its session must be there. */
export class Participant {
  readonly client: PersistentClient;
  /** What the server did wrong, one sentence each. */
  readonly faults: string[] = [];
  #session: SessionState = "ended";
  #joining: Promise<boolean> | undefined;
  #cutCount = 0;

  constructor(options: PersistentClientOptions) {
    this.client = new PersistentClient(options);
  }

  get name(): string {
    return this.client.options.clientId;
  }

  get allFaults(): readonly string[] {
    return [...this.faults, ...this.client.faults];
  }

  /** Connects, or waits for the attempt that is under way. True when the server let it in. */
  join(address: Address, options: JoinOptions = {}): Promise<boolean> {
    if (this.client.isConnected) return Promise.resolve(true);
    this.#joining ??= this.#join(address, options).finally(() => {
      this.#joining = undefined;
    });
    return this.#joining;
  }

  /** Ends the connection, and an attempt to make one, as if the client had been killed. */
  cut(): void {
    this.#cutCount += 1;
    this.client.cut();
  }

  async #join(address: Address, options: JoinOptions): Promise<boolean> {
    const { version, leavesAttempts } = this.client.options;
    if (leavesAttempts === true) {
      const cutCount = this.#cutCount;
      await this.client.left;
      if (this.#cutCount !== cutCount) return false;
    }
    const { will } = options;
    const keeps = options.keeps ?? (version === 5 || options.cleanStart !== true);
    const cleanStart = version === 5 ? options.cleanStart === true : !keeps;
    const expiry = keeps ? {} : { properties: noProperties };
    const expected = cleanStart ? "ended" : this.#session;
    // Until an answer comes, the old session and the new one are both possible.
    if (cleanStart || !keeps || this.#session === "ended") this.#session = "either";
    const result = await this.client.connect(address, {
      cleanStart,
      ...(version === 5 ? expiry : {}),
      ...(will === undefined ? {} : { will }),
    });
    if (result.kind === "lost") return false;
    if (result.kind === "refused") {
      this.faults.push(`${this.name}: CONNECT was refused with ${result.reasonCode}`);
      return false;
    }
    // MQTT 3.1 has no Session Present.
    const tells = version !== 3 && expected !== "either";
    if (tells && result.sessionPresent !== (expected === "kept")) {
      this.faults.push(
        `${this.name}: Session Present is ${result.sessionPresent}, the session is ${expected} [MQTT-3.2.2-2]`,
      );
    }
    this.#session = keeps ? "kept" : "ended";
    return true;
  }
}
