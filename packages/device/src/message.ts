import type { Properties, QoS } from "@postern/mqtt/packets";

/** What became of the seal of a message that came sealed. */
export interface Provenance {
  readonly mode: string;
  /** Who sealed it: proved by a signature, otherwise claimed by a member of the group. */
  readonly sender: string;
  readonly epoch: number;
  readonly sealedAtMs: number | undefined;
}

/** A message as it came. */
export class Message {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  /** It was kept by the server, and is not new. */
  readonly retained: boolean;
  /** It may have come before: the server sends it again after a connection broke. */
  readonly duplicate: boolean;
  readonly properties: Properties;
  /** `undefined` for a message that came without a seal. */
  readonly sealed: Provenance | undefined;

  constructor(fields: Omit<Message, "text" | "json">) {
    this.topic = fields.topic;
    this.payload = fields.payload;
    this.qos = fields.qos;
    this.retained = fields.retained;
    this.duplicate = fields.duplicate;
    this.properties = fields.properties;
    this.sealed = fields.sealed;
  }

  /** The payload as text in UTF-8. */
  text(): string {
    return this.payload.toString("utf8");
  }

  /** The payload as JSON. @throws {SyntaxError} when it is none. */
  json(): unknown {
    return JSON.parse(this.text());
  }
}
