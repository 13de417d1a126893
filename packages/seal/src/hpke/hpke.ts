import type { KeyObject } from "node:crypto";

import { aeadOpen, aeadSeal, nonceBytes, numberedNonce } from "../aead.ts";
import { decapsulate, encapsulate, ephemeralKey } from "./kem.ts";
import { labeledExpand, labeledExtract } from "./labeled.ts";
import { aeads, kdfId, kems, type HpkeSuite } from "./suite.ts";

const none = Buffer.alloc(0);

interface Psk {
  readonly psk: Uint8Array;
  readonly id: Uint8Array;
}

interface SharedOptions {
  readonly suite: HpkeSuite;
  readonly info?: Uint8Array;
  /** A secret that both have, of 32 bytes at least: `mode_psk`, and with a sender's key `mode_auth_psk`. */
  readonly psk?: Psk;
}

export interface HpkeSenderOptions extends SharedOptions {
  /** Public key of the one who is to read it. */
  readonly recipient: KeyObject;
  /** Private key of the sender, of the same kind as the recipient's: `mode_auth`. */
  readonly sender?: KeyObject;
  /** For test vectors only: every message needs a new one, which is made when none is given. */
  readonly ephemeral?: KeyObject;
}

export interface HpkeRecipientOptions extends SharedOptions {
  readonly enc: Uint8Array;
  /** Private key of the recipient. */
  readonly recipient: KeyObject;
  /** Public key of the sender: `mode_auth`. */
  readonly sender?: KeyObject;
}

/** SetupBaseS, SetupPSKS, SetupAuthS and SetupAuthPSKS, by the keys that are given. Throws when the keys do not belong to the suite. @see RFC 9180 §5.1 */
export function hpkeSender(options: HpkeSenderOptions): {
  readonly enc: Buffer;
  readonly context: HpkeContext;
} {
  const { suite, recipient, sender } = options;
  const { secret, enc } = encapsulate(suite.kem, {
    recipient,
    sender,
    ephemeral: options.ephemeral ?? ephemeralKey(suite.kem),
  });
  return { enc, context: keySchedule(secret, options, sender !== undefined) };
}

/** SetupBaseR, SetupPSKR, SetupAuthR and SetupAuthPSKR. @returns `undefined` when `enc` is no public key. @see RFC 9180 §5.1 */
export function hpkeRecipient(options: HpkeRecipientOptions): HpkeContext | undefined {
  const { suite, enc, recipient, sender } = options;
  const secret = decapsulate(suite.kem, { enc, recipient, sender });
  return secret === undefined ? undefined : keySchedule(secret, options, sender !== undefined);
}

/** KeySchedule. @see RFC 9180 §5.1 */
function keySchedule(secret: Buffer, { suite, info = none, psk }: SharedOptions, auth: boolean): HpkeContext {
  const aead = aeads[suite.aead];
  const suiteId = Buffer.from("HPKE\0\0\0\0\0\0", "latin1");
  suiteId.writeUInt16BE(kems[suite.kem].id, 4);
  suiteId.writeUInt16BE(kdfId, 6);
  suiteId.writeUInt16BE(aead.id, 8);
  if (psk !== undefined && (psk.psk.length < 32 || psk.id.length === 0)) {
    throw new RangeError("a pre-shared key has 32 bytes at least, and a name");
  }
  const mode = (psk === undefined ? 0 : 1) + (auth ? 2 : 0);
  const context = Buffer.concat([
    Buffer.of(mode),
    labeledExtract(suiteId, { salt: none, label: "psk_id_hash", ikm: psk?.id ?? none }),
    labeledExtract(suiteId, { salt: none, label: "info_hash", ikm: info }),
  ]);
  const prk = labeledExtract(suiteId, { salt: secret, label: "secret", ikm: psk?.psk ?? none });
  const expand = (label: string, bytes: number) =>
    labeledExpand(suiteId, { prk, label, info: context, bytes });
  return new HpkeContext({
    suiteId,
    suite,
    key: expand("key", aead.keyBytes),
    baseNonce: expand("base_nonce", nonceBytes),
    exporterSecret: expand("exp", 32),
  });
}

interface ContextParts {
  readonly suiteId: Buffer;
  readonly suite: HpkeSuite;
  readonly key: Buffer;
  readonly baseNonce: Buffer;
  readonly exporterSecret: Buffer;
}

/** One direction of a conversation: messages are to be opened in the order in which they were sealed. @see RFC 9180 §5.2 */
export class HpkeContext {
  readonly #parts: ContextParts;
  #sequence = 0;

  constructor(parts: ContextParts) {
    this.#parts = parts;
  }

  /** @returns the ciphertext with its tag of 16 bytes. */
  seal(plaintext: Uint8Array, aad: Uint8Array = none): Buffer {
    const { suite, key, baseNonce } = this.#parts;
    const nonce = numberedNonce(baseNonce, this.#sequence++);
    return aeadSeal(aeads[suite.aead].cipher, { key, nonce, aad }, plaintext);
  }

  /** @returns `undefined` when the ciphertext is not what the other one sealed next. */
  open(ciphertext: Uint8Array, aad: Uint8Array = none): Buffer | undefined {
    const { suite, key, baseNonce } = this.#parts;
    const nonce = numberedNonce(baseNonce, this.#sequence);
    const plaintext = aeadOpen(aeads[suite.aead].cipher, { key, nonce, aad }, ciphertext);
    if (plaintext !== undefined) this.#sequence++;
    return plaintext;
  }

  /** A secret for another use that only the two can make. @see RFC 9180 §5.3 */
  export(context: Uint8Array, bytes: number): Buffer {
    const { suiteId, exporterSecret } = this.#parts;
    return labeledExpand(suiteId, { prk: exporterSecret, label: "sec", info: context, bytes });
  }
}
