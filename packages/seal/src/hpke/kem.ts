import { createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from "node:crypto";

import { labeledExpand, labeledExtract } from "./labeled.ts";
import { kems, type KemName } from "./suite.ts";

const secretBytes = 32;

/** The KEM that a key is for, or `undefined` when it is for none of ours. */
export function kemOf(key: KeyObject): KemName | undefined {
  if (key.asymmetricKeyType === "x25519") return "X25519";
  const curve = key.asymmetricKeyType === "ec" ? key.asymmetricKeyDetails?.namedCurve : undefined;
  return curve === "prime256v1" ? "P-256" : undefined;
}

/** SerializePublicKey: 65 bytes for P-256 (uncompressed), 32 for X25519. @see RFC 9180 §7.1.1 */
export function serializePublicKey(key: KeyObject): Buffer {
  const kem = kemOf(key);
  if (kem === undefined) throw new TypeError("the key is neither of P-256 nor of X25519");
  const { publicKeyBytes } = kems[kem];
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  return publicKey.export({ type: "spki", format: "der" }).subarray(-publicKeyBytes);
}

/** DeserializePublicKey. @returns `undefined` when the bytes are no key: of another length, or no point of the curve. @see RFC 9180 §7.1.4 */
export function deserializePublicKey(kem: KemName, bytes: Uint8Array): KeyObject | undefined {
  const { spkiPrefix, publicKeyBytes } = kems[kem];
  if (bytes.length !== publicKeyBytes) return undefined;
  try {
    return createPublicKey({ key: Buffer.concat([spkiPrefix, bytes]), format: "der", type: "spki" });
  } catch {
    return undefined;
  }
}

/** An ephemeral key pair, or that of a test vector. */
export function ephemeralKey(kem: KemName): KeyObject {
  return kem === "X25519"
    ? generateKeyPairSync("x25519").privateKey
    : generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
}

/** `Encap`, and `AuthEncap` with a sender's key. @see RFC 9180 §4.1 */
export function encapsulate(
  kem: KemName,
  keys: {
    readonly recipient: KeyObject;
    readonly sender: KeyObject | undefined;
    readonly ephemeral: KeyObject;
  },
): { readonly secret: Buffer; readonly enc: Buffer } {
  const { recipient, sender, ephemeral } = keys;
  const enc = serializePublicKey(ephemeral);
  const shared = [diffieHellman({ privateKey: ephemeral, publicKey: recipient })];
  const context = [enc, serializePublicKey(recipient)];
  if (sender !== undefined) {
    shared.push(diffieHellman({ privateKey: sender, publicKey: recipient }));
    context.push(serializePublicKey(sender));
  }
  return { secret: extractAndExpand(kem, shared, context), enc };
}

/** `Decap`, and `AuthDecap` with a sender's key. @returns `undefined` when `enc` is no key. @see RFC 9180 §4.1 */
export function decapsulate(
  kem: KemName,
  keys: { readonly enc: Uint8Array; readonly recipient: KeyObject; readonly sender: KeyObject | undefined },
): Buffer | undefined {
  const { enc, recipient, sender } = keys;
  const ephemeral = deserializePublicKey(kem, enc);
  if (ephemeral === undefined) return undefined;
  try {
    const shared = [diffieHellman({ privateKey: recipient, publicKey: ephemeral })];
    const context = [enc, serializePublicKey(recipient)];
    if (sender !== undefined) {
      shared.push(diffieHellman({ privateKey: recipient, publicKey: sender }));
      context.push(serializePublicKey(sender));
    }
    return extractAndExpand(kem, shared, context);
  } catch {
    // A point of small order, for which X25519 gives zeros (RFC 9180 §7.1.4): the peer's mistake.
    return undefined;
  }
}

function extractAndExpand(
  kem: KemName,
  shared: readonly Uint8Array[],
  context: readonly Uint8Array[],
): Buffer {
  const suiteId = Buffer.from("KEM\0\0", "latin1");
  suiteId.writeUInt16BE(kems[kem].id, 3);
  const prk = labeledExtract(suiteId, {
    salt: Buffer.alloc(0),
    label: "eae_prk",
    ikm: Buffer.concat(shared),
  });
  return labeledExpand(suiteId, {
    prk,
    label: "shared_secret",
    info: Buffer.concat(context),
    bytes: secretBytes,
  });
}
