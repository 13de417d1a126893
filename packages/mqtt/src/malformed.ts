import { ReasonCode } from "./reason-codes.ts";

/** What a peer sent against the protocol: a value, never an exception. @see MQTT 5.0 §4.13 */
export interface Malformed {
  readonly kind: "malformed";
  /** The MQTT 5 reason code to close with (0x81, 0x82, 0x84, …); an MQTT 3 connection is closed without one. */
  readonly reasonCode: number;
  /** One sentence for a log: what was found, with the clause. Never quotes what the peer sent. */
  readonly reason: string;
}

/** What a decoder of a whole packet returns. */
export type Decoded<T> = { readonly kind: "value"; readonly value: T } | Malformed;

/** A packet that cannot be parsed according to the specification: 0x81 Malformed Packet. @see MQTT 5.0 §4.13.1 */
export function malformed(reason: string): Malformed {
  return { kind: "malformed", reasonCode: ReasonCode.malformedPacket, reason };
}

/** A packet that parses and holds what is not allowed: 0x82 Protocol Error. @see MQTT 5.0 §4.13.1 */
export function protocolError(reason: string): Malformed {
  return { kind: "malformed", reasonCode: ReasonCode.protocolError, reason };
}
