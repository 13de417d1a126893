import { createHmac, hash, randomBytes } from "node:crypto";

import { aeadSeal, nonceBytes, numberedNonce, type AeadInput } from "../aead.ts";
import { CborWriter } from "../cbor/encode.ts";
import { majorType } from "../cbor/value.ts";
import { algorithm, coseTag } from "../cose/registry.ts";
import { encodeSign1 } from "../cose/sign1.ts";
import type { GroupKey } from "../keys/group-key.ts";
import type { RecipientKey } from "../keys/recipient.ts";
import { signatureOf, type SigningKey } from "../keys/signature.ts";
import { coseStructure, encodeBinding, type Binding } from "./binding.ts";
import { encodeHeader, isSender, requireEpoch } from "./header.ts";
import { requirePosition, type Position } from "./position.ts";
import { encodeSealedKeys, sealKey } from "./sealed-key.ts";
import { recipientsMax, type SealMode } from "./structure.ts";

/** How to protect a payload, with the keys for it. Encryption is with the key of a group, or to the keys of some recipients. */
export type Protection =
  | { readonly mode: "checksum" }
  | { readonly mode: "mac"; readonly group: GroupKey }
  | { readonly mode: "signed"; readonly signing: SigningKey }
  | ({ readonly mode: "encrypted" } & EncryptedFor)
  | ({ readonly mode: "signed+encrypted"; readonly signing: SigningKey } & EncryptedFor);

export type EncryptedFor =
  | { readonly group: GroupKey; readonly recipients?: undefined }
  | { readonly recipients: readonly RecipientKey[]; readonly group?: undefined };

export interface SealOptions {
  /** When it is sealed, where receivers look at the age of messages: kept in whole seconds. */
  readonly sealedAtMs?: number;
}

/**
 * Seals a payload, so that it opens for this tenant, topic, sender and epoch only, and once. `position` must be a new one for each
 * message of a sender (`SequenceCounter`). Throws `RangeError` for what cannot be sealed, such as another epoch than the key's.
 */
export function seal(
  protection: Protection,
  binding: Binding,
  position: Position,
  payload: Uint8Array,
  options: SealOptions = {},
): Buffer {
  requireSealable(protection, binding, position);
  const { sealedAtMs } = options;
  const header = encodeHeader({
    algorithm: algorithmOf(protection),
    holdsSignature: protection.mode === "signed+encrypted",
    ...position,
    sender: binding.sender,
    epoch: binding.epoch,
    sealedAtSeconds: sealedAtMs === undefined ? undefined : Math.floor(sealedAtMs / 1000),
  });
  switch (protection.mode) {
    case "checksum": {
      const checked = coseStructure("Checksum", [header, encodeBinding(binding), payload]);
      return envelope(undefined, header, payload, hash("sha256", checked, "buffer"));
    }
    case "mac":
      return sealMac(protection.group, { header, binding, position }, payload);
    case "signed": {
      const signed = coseStructure("Signature1", [header, encodeBinding(binding), payload]);
      return envelope(coseTag.sign1, header, payload, signatureOf(protection.signing, signed));
    }
    case "encrypted":
    case "signed+encrypted":
      return sealEncrypted(protection, { header, binding, position }, payload);
  }
}

interface Place {
  readonly header: Uint8Array;
  readonly binding: Binding;
  readonly position: Position;
}

function sealMac(group: GroupKey, { header, binding, position }: Place, payload: Uint8Array): Buffer {
  const key = group.macOf(binding.sender, position.instance);
  group.keepMac(binding.sender, position.instance, key);
  const authenticated = coseStructure("MAC0", [header, encodeBinding(binding), payload]);
  return envelope(coseTag.mac0, header, payload, createHmac("sha256", key).update(authenticated).digest());
}

type Encrypting = Extract<Protection, { readonly mode: "encrypted" | "signed+encrypted" }>;

function sealEncrypted(protection: Encrypting, place: Place, payload: Uint8Array): Buffer {
  if (protection.recipients !== undefined)
    return sealToRecipients(protection, protection.recipients, place, payload);
  const { header, binding, position } = place;
  const encryption = protection.group.encryptionOf(binding.sender, position.instance);
  if (encryption === undefined) throw new RangeError("the key of the group is one for MACs only");
  protection.group.keepEncryption(binding.sender, position.instance, encryption);
  const nonce = numberedNonce(encryption.baseNonce, position.sequence);
  const aad = coseStructure("Encrypt0", [header, encodeBinding(binding)]);
  const plaintext = signedIfAsked(protection, encodeBinding(binding, [header]), payload);
  return envelope(
    coseTag.encrypt0,
    header,
    aeadSeal("aes-256-gcm", { key: encryption.key, nonce, aad }, plaintext),
  );
}

function sealToRecipients(
  protection: Encrypting,
  recipients: readonly RecipientKey[],
  { header, binding, position }: Place,
  payload: Uint8Array,
): Buffer {
  const contentKey = randomBytes(32);
  const context = encodeBinding(binding);
  const sealedKeys = encodeSealedKeys(recipients.map((recipient) => sealKey(recipient, contentKey, context)));
  const plaintext = signedIfAsked(protection, encodeBinding(binding, [header, sealedKeys]), payload);
  const input: AeadInput = {
    key: contentKey,
    // Each message has a key of its own: the base that the sequence number is added to is zero.
    nonce: numberedNonce(Buffer.alloc(nonceBytes), position.sequence),
    aad: coseStructure("Encrypt", [header, encodeBinding(binding, [sealedKeys])]),
  };
  const content = aeadSeal("aes-256-gcm", input, plaintext);
  contentKey.fill(0);
  return envelope(coseTag.encrypt, header, content, { encoded: sealedKeys });
}

/** A COSE_Sign1 of the payload that has only its algorithm of its own: all else is in the header around it, which it covers. */
function signedIfAsked(protection: Encrypting, externalAad: Uint8Array, payload: Uint8Array): Uint8Array {
  if (protection.mode === "encrypted") return payload;
  const { signing } = protection;
  return encodeSign1(signing.algorithm, payload, (header) =>
    signatureOf(signing, coseStructure("Signature1", [header, externalAad, payload])),
  );
}

function envelope(
  tag: number | undefined,
  header: Uint8Array,
  content: Uint8Array,
  last?: Uint8Array | { readonly encoded: Uint8Array },
): Buffer {
  const lastBytes = last instanceof Uint8Array ? last.length : (last?.encoded.length ?? 0);
  const writer = new CborWriter(header.length + content.length + lastBytes + 20);
  if (tag !== undefined) writer.head(majorType.tag, tag);
  writer.head(majorType.array, last === undefined ? 3 : 4);
  writer.bytes(header);
  writer.head(majorType.map, 0);
  writer.bytes(content);
  if (last instanceof Uint8Array) writer.bytes(last);
  else if (last !== undefined) writer.raw(last.encoded);
  return writer.finish();
}

function algorithmOf(protection: Protection): number {
  const algorithms: Readonly<Record<Exclude<SealMode, "signed">, number>> = {
    checksum: algorithm.sha256,
    mac: algorithm.hmac256,
    encrypted: algorithm.aes256Gcm,
    "signed+encrypted": algorithm.aes256Gcm,
  };
  return protection.mode === "signed" ? protection.signing.algorithm : algorithms[protection.mode];
}

function requireSealable(
  protection: Protection,
  { tenant, topic, sender, epoch }: Binding,
  position: Position,
): void {
  requireEpoch(epoch);
  requirePosition(position);
  if (!isSender(sender)) throw new RangeError(`${JSON.stringify(sender)} cannot be the name of a sender`);
  if (topic === "" || tenant === "") throw new RangeError("a payload is sealed for a tenant and a topic");
  if ("group" in protection && protection.group !== undefined && protection.group.epoch !== epoch) {
    throw new RangeError(
      `the key is of epoch ${protection.group.epoch}, the payload is to be sealed for ${epoch}`,
    );
  }
  if ("recipients" in protection && protection.recipients !== undefined) {
    const { length } = protection.recipients;
    if (length === 0 || length > recipientsMax) {
      throw new RangeError(`a payload is encrypted to 1 to ${recipientsMax} recipients, not to ${length}`);
    }
  }
}
