import { createHmac, randomBytes } from "node:crypto";
import type { TLSSocket } from "node:tls";

/** Where a listener's pre-shared keys come from. */
export interface PskAccess {
  /** The key of an identity; `undefined` for one that has none. Asked in every handshake: a look-up, no more. */
  keyOf(identity: string): Uint8Array | undefined;
  /** Somebody at this address claimed the identity and did not have its key. */
  failed(identity: string, address: string): void;
}

/** @see RFC 9257 §6: no less than 128 bits, and not a password */
const keyBytesMin = 16;

/** Answers for the keys of one listener and remembers which identity each connection claimed. */
export class PskKeys {
  readonly #access: PskAccess;
  readonly #secret = randomBytes(32);
  readonly #claimed = new WeakMap<TLSSocket, string>();

  constructor(access: PskAccess) {
    this.#access = access;
  }

  /**
   * The key to go on with. An identity that is not known, or whose key is too short to be one, is given a key that nobody has, always
   * the same one: the handshake fails as it does for a wrong key, and takes as long.
   */
  keyFor(socket: TLSSocket, identity: string): Uint8Array {
    this.#claimed.set(socket, identity);
    const nobodys = createHmac("sha256", this.#secret).update(identity).digest();
    const key = this.#access.keyOf(identity);
    return key !== undefined && key.length >= keyBytesMin ? key : nobodys;
  }

  failed(identity: string, address: string): void {
    this.#access.failed(identity, address);
  }

  /** Claimed only, until the handshake is over; `undefined` when it did not come that far. */
  claimedBy(socket: TLSSocket): string | undefined {
    return this.#claimed.get(socket);
  }
}
