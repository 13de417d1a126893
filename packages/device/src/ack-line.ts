/** A message with QoS 1 or 2 that came and is not acknowledged. */
export interface Unacknowledged {
  readonly packetId: number;
  readonly topic: string;
  readonly payloadBytes: number;
  /** Those who have not taken it. */
  takers: number;
}

/**
 * The acknowledgements that are due, in the order in which the messages came: one that is not taken holds back those after it.
 * @see MQTT 5.0 §4.6 [MQTT-4.6.0-2] [MQTT-4.6.0-3]
 */
export class AckLine {
  #line: Unacknowledged[] = [];
  /** Of the connection before, whose messages come again. */
  #former = new Map<number, Unacknowledged>();
  readonly #write: (packetId: number) => boolean;

  /** @param write returns whether there is a connection; without one the acknowledgement is due when the message comes again. */
  constructor(write: (packetId: number) => boolean) {
    this.#write = write;
  }

  get length(): number {
    return this.#line.length;
  }

  /** A new message. */
  add(packetId: number, topic: string, payloadBytes: number): Unacknowledged {
    const entry = { packetId, topic, payloadBytes, takers: 0 };
    this.#line.push(entry);
    return entry;
  }

  /** A message that came before over another connection, and that somebody here has or had: nobody gets it a second time. */
  again(packetId: number, topic: string, payloadBytes: number): boolean {
    const entry = this.#former.get(packetId);
    if (entry?.topic !== topic || entry.payloadBytes !== payloadBytes) return false;
    this.#former.delete(packetId);
    this.#line.push(entry);
    this.flush();
    return true;
  }

  /** Writes the acknowledgements of the messages at the front that were taken. */
  flush(): void {
    for (let first = this.#line[0]; first?.takers === 0 && this.#write(first.packetId); first = this.#line[0])
      this.#line.shift();
  }

  /** After each CONNACK: over the new connection the server sends again what was not acknowledged, if it knows the session. */
  onSession(sessionPresent: boolean): void {
    const unanswered = sessionPresent ? [...this.#former.values(), ...this.#line] : [];
    this.#former = new Map(unanswered.map((entry) => [entry.packetId, entry]));
    this.#line = [];
  }
}
