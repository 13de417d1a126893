import { encodeCbor } from "../cbor/encode.ts";
import { algorithm, label } from "../cose/registry.ts";
import { hpkeRecipient, hpkeSender } from "../hpke/hpke.ts";
import { kemAlgorithms, type DecryptionKey, type RecipientKey } from "../keys/recipient.ts";
import type { SealedKey } from "./structure.ts";

/**
 * Encrypts the key of a message to one recipient: HPKE in its base mode, which says nothing of who sent it.
 * @see draft-ietf-cose-hpke §3.2 (key encryption)
 */
export function sealKey(recipient: RecipientKey, key: Uint8Array, context: Uint8Array): SealedKey {
  const { number, suite } = kemAlgorithms[recipient.kem];
  const header = encodeCbor(new Map([[label.alg, number]]));
  const { enc, context: hpke } = hpkeSender({
    suite,
    recipient: recipient.publicKey,
    info: infoOf(header, context),
  });
  return { header, algorithm: number, keyId: recipient.id, enc, ciphertext: hpke.seal(key) };
}

/** @returns `undefined` when it was not encrypted to this key, or for another context. */
export function openKey(own: DecryptionKey, sealed: SealedKey, context: Uint8Array): Buffer | undefined {
  const { number, suite } = kemAlgorithms[own.kem];
  if (sealed.algorithm !== number) return undefined;
  const info = infoOf(sealed.header, context);
  return hpkeRecipient({ suite, recipient: own.privateKey, enc: sealed.enc, info })?.open(sealed.ciphertext);
}

/** The recipients of a COSE_Encrypt, as they are sent. @see RFC 9052 §5.1 */
export function encodeSealedKeys(keys: readonly SealedKey[]): Buffer {
  return encodeCbor(
    keys.map(({ header, keyId, enc, ciphertext }) => [
      header,
      new Map([
        [label.kid, keyId],
        [label.ek, enc],
      ]),
      ciphertext,
    ]),
  );
}

/** Recipient_structure: which algorithm the key is for, and what it belongs to. @see draft-ietf-cose-hpke §3.2.1 */
function infoOf(header: Uint8Array, context: Uint8Array): Buffer {
  return encodeCbor(["HPKE Recipient", algorithm.aes256Gcm, header, context]);
}
