/** An application message that a device of the network has sent. */
export interface Message {
  readonly source: string;
  readonly destination: string;
  readonly sentUs: number;
  deliveredUs: number | undefined;
  /** What the sender believes: its message arrived, got lost, or it cannot know. */
  believed: "arrived" | "lost" | "unknown";
}

/** Something that happened, for the time line. */
export interface Happening {
  readonly atUs: number;
  readonly who: string;
  readonly what: string;
  /** `attack`: done by an attacker; `harm`: what it led to; `defence`: what stopped it. */
  readonly kind: "network" | "attack" | "harm" | "defence";
}

const happeningsMax = 5_000;

/** What really happened in a simulated network, as nobody in it can know. */
export class Truth {
  readonly messages: Message[] = [];
  readonly happenings: Happening[] = [];
  /** Messages that the network took though no device had sent them, or not again. */
  forgedAccepted = 0;
  replayedAccepted = 0;
  /** Times that a device has joined or rejoined, lost its network, or was moved to one that is not its own. */
  joins = 0;
  losses = 0;
  trapped = 0;
  readonly #now: () => number;
  readonly #open = new Map<string, Message>();

  constructor(now: () => number) {
    this.#now = now;
  }

  note(who: string, what: string, kind: Happening["kind"] = "network"): void {
    if (this.happenings.length < happeningsMax) {
      this.happenings.push({ atUs: this.#now(), who, what, kind });
    }
  }

  /** A device sends a message, about something of `sinceUs`. `identity`: what tells it from others where it arrives. */
  sent(source: string, destination: string, identity: string, sinceUs: number = this.#now()): Message {
    const message: Message = {
      source,
      destination,
      sentUs: sinceUs,
      deliveredUs: undefined,
      believed: "unknown",
    };
    this.messages.push(message);
    this.#open.set(identity, message);
    return message;
  }

  /** A message has arrived and was taken for genuine. */
  received(receiver: string, identity: string): void {
    const message = this.#open.get(identity);
    if (message === undefined) {
      this.forgedAccepted++;
      this.note(receiver, "took a forged message for genuine", "harm");
    } else if (message.deliveredUs === undefined) {
      message.deliveredUs = this.#now();
    } else {
      this.replayedAccepted++;
      this.note(receiver, "took a message a second time", "harm");
    }
  }
}
