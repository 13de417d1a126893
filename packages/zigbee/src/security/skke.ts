import { type Eui64, eui64Bytes } from "../eui64.ts";
import { joined, keyedHash, mmoHash } from "./mmo-hash.ts";

/** What the four messages of a symmetric-key key establishment put together. Challenges have 16 bytes. */
export interface SkkeExchange {
  readonly masterKey: Uint8Array;
  readonly initiator: Eui64;
  readonly responder: Eui64;
  readonly initiatorChallenge: Uint8Array;
  readonly responderChallenge: Uint8Array;
}

/** What comes out of it; the tags prove to the other side that the link key is known. */
export interface SkkeResult {
  readonly linkKey: Uint8Array;
  /** Of SKKE-3. */
  readonly initiatorTag: Uint8Array;
  /** Of SKKE-4. */
  readonly responderTag: Uint8Array;
}

/**
 * The link key and the tags of an exchange. Published numbers to compare with were not found, so that only
 * its own two sides are known to agree. @see Zigbee §B.2.1, §B.7
 */
export function establishSkke(exchange: SkkeExchange): SkkeResult {
  const identities = joined(eui64Bytes(exchange.initiator), eui64Bytes(exchange.responder));
  const challenges = joined(exchange.initiatorChallenge, exchange.responderChallenge);
  const shared = keyedHash(exchange.masterKey, joined(identities, challenges));
  const tagKey = mmoHash(joined(shared, Uint8Array.of(0, 0, 0, 1)));
  const linkKey = mmoHash(joined(shared, Uint8Array.of(0, 0, 0, 2)));
  const tag = (first: number) => keyedHash(tagKey, joined(Uint8Array.of(first), identities, challenges));
  return { linkKey, initiatorTag: tag(3), responderTag: tag(2) };
}
