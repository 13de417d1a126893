import { createHmac, hash, timingSafeEqual } from "node:crypto";

import { aeadOpen, nonceBytes, numberedNonce } from "../aead.ts";
import { decodeSign1 } from "../cose/sign1.ts";
import type { GroupKey } from "../keys/group-key.ts";
import type { DecryptionKey } from "../keys/recipient.ts";
import { isSignature, type VerifyingKey } from "../keys/signature.ts";
import type { ReplayGuard } from "../replay/replay-guard.ts";
import { farBehind } from "../replay/replay-window.ts";
import type { RetainedOnce } from "../replay/retained-once.ts";
import { coseStructure, encodeBinding } from "./binding.ts";
import type { Header } from "./header.ts";
import { encodeSealedKeys, openKey } from "./sealed-key.ts";
import { structureOf, type SealMode, type Structure } from "./structure.ts";

/** Why a payload is not delivered, one code for each fault. */
export type RefusalCode =
  /** It is no sealed payload at all, where one was expected. */
  | "not-sealed"
  /** It begins like one, and is none. */
  | "malformed"
  | "unknown-algorithm"
  /** It is protected otherwise than the topic demands. */
  | "wrong-mode"
  /** There is no key for this topic. */
  | "no-key"
  /** The epoch of its key has not come, as far as we were told. */
  | "future-epoch"
  /** The epoch of its key is over, or was before one was a member. */
  | "expired-epoch"
  /** Nobody of that name may send here, or no key of its is known. */
  | "unknown-sender"
  /** It is encrypted to others. */
  | "not-a-recipient"
  /** It was altered, moved from another topic or tenant, made by somebody else, or with another key. */
  | "not-authentic"
  /** The signature within is not of the one it names. */
  | "forged-sender"
  /** It was accepted before. */
  | "replayed"
  /** It was accepted before, and comes again because QoS 1 may deliver twice. */
  | "duplicate"
  /** It is so far behind the sender's newest that nobody knows whether it was accepted before. */
  | "outside-window"
  | "too-many-senders"
  /** It comes from the broker's memory, where none such is expected, or not for the first time in this subscription. */
  | "unexpected-retained"
  /** It does not say when it was sealed, where that counts. */
  | "undated"
  | "too-old"
  /** It was sealed later than now. */
  | "postdated";

/** Why there is no key. */
export type MissingKey = "no-key" | "future-epoch" | "expired-epoch";

/** What a receiver has to open payloads with. */
export interface OpeningKeys {
  /** The key of the group that the topic belongs to, in that epoch. */
  groupKey?(topic: string, epoch: number): GroupKey | MissingKey;
  /** The keys of a sender who may sign on that topic: of its certificate, and of the one before while both are in use. */
  signers?(topic: string, sender: string): readonly VerifyingKey[];
  /** One's own keys, for what is encrypted to recipients; absent where only the key of a group counts, since everybody can encrypt to a public key. */
  readonly decryption?: readonly DecryptionKey[] | undefined;
}

/** How a message came. */
export interface Delivery {
  /** From the broker's memory at the start of a subscription: may be old, and may have been seen before. */
  readonly retained?: boolean;
  /** With QoS 1, which may deliver twice: what was accepted before is a `duplicate` and not `replayed`. */
  readonly mayRepeat?: boolean;
}

export interface OpenOptions {
  /** The modes that are good enough here. Everything else is refused, plain text above all. */
  readonly modes: readonly SealMode[];
  /**
   * One for what is signed, and another for each group whose members are only claimed to be who they say (`mac`, `encrypted`): with one for several, a
   * member of one group could use up the numbers of what another sender says elsewhere. Absent where somebody else looks after replays.
   */
  readonly guard?: ReplayGuard | undefined;
  readonly delivery?: Delivery;
  /** Lets retained messages in, one for each topic and subscription. Absent where there shall be none, such as for commands. */
  readonly retained?: RetainedOnce | undefined;
  /** Refuses what was sealed longer ago, or does not say when. Retained messages may be older. */
  readonly age?: { readonly nowMs: number; readonly maxMs: number; readonly aheadMaxMs?: number } | undefined;
}

export interface Opened {
  readonly kind: "opened";
  readonly mode: SealMode;
  readonly payload: Uint8Array;
  /** Proved by `signed` and `signed+encrypted`; by `mac` and `encrypted` with a group's key only that it is of some member. */
  readonly sender: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly sealedAtMs: number | undefined;
  /** An application shall treat it as a state that was, not as something that happens now. */
  readonly retained: boolean;
}

export interface Refused {
  readonly kind: "refused";
  readonly code: RefusalCode;
  /** A sentence for a person, without anything secret. */
  readonly reason: string;
  /** Who it claims to be of, where it says so. Proved by nothing. */
  readonly claimedSender?: string;
}

/** How far a sender's clock may be ahead of the receiver's. */
export const clockAheadMaxMs = 60_000;

/**
 * Opens a sealed payload that came on a topic: checks the mode, the keys, the proof, the age, and that it did not come before, in this
 * order; remembers it in the guard only when all is well. Never throws for what somebody sent.
 */
export function open(
  payload: Uint8Array,
  place: { readonly tenant: string; readonly topic: string },
  keys: OpeningKeys,
  options: OpenOptions,
): Opened | Refused {
  const found = structureOf(payload);
  if (found.kind !== "sealed") return refused(found.kind, found.reason);
  return openStructure(found.structure, place, keys, options);
}

/** As `open`, for whoever has looked at the structure already. */
export function openStructure(
  structure: Structure,
  place: { readonly tenant: string; readonly topic: string },
  keys: OpeningKeys,
  options: OpenOptions,
): Opened | Refused {
  const { mode, header } = structure;
  if (!options.modes.includes(mode)) {
    return refused(
      "wrong-mode",
      `it is protected by "${mode}", wanted is ${options.modes.join(" or ")}`,
      header,
    );
  }
  const proved = prove({ ...place, sender: header.sender, epoch: header.epoch }, structure, keys);
  if (proved.kind === "refused") return proved;
  const late =
    retainedFault(place.topic, header, options) ?? ageFault(header, options) ?? replayFault(header, options);
  if (late !== undefined) return late;
  return {
    kind: "opened",
    mode,
    payload: proved.payload,
    sender: header.sender,
    epoch: header.epoch,
    sequence: header.sequence,
    sealedAtMs: header.sealedAtSeconds === undefined ? undefined : header.sealedAtSeconds * 1000,
    retained: options.delivery?.retained === true,
  };
}

type Proved = { readonly kind: "proved"; readonly payload: Uint8Array } | Refused;

interface Place {
  readonly tenant: string;
  readonly topic: string;
  readonly sender: string;
  readonly epoch: number;
}

function prove(place: Place, structure: Structure, keys: OpeningKeys): Proved {
  switch (structure.mode) {
    case "checksum":
      return checkHash(place, structure);
    case "mac":
      return checkMac(place, structure, keys);
    case "signed":
      return checkSignature(place, structure, keys);
    case "encrypted":
      return decrypt(place, structure, keys);
    case "signed+encrypted": {
      const signers = signersOf(place, structure, keys);
      if (!isArrayOfKeys(signers)) return signers;
      const inner = decrypt(place, structure, keys);
      return inner.kind === "refused" ? inner : checkInner(place, { structure, signers }, inner.payload);
    }
  }
}

function checkHash(place: Place, { headerBytes, header, content, proof }: Structure): Proved {
  const checked = coseStructure("Checksum", [headerBytes, encodeBinding(place), content]);
  return equal(hash("sha256", checked, "buffer"), proof)
    ? { kind: "proved", payload: content }
    : refused("not-authentic", "its checksum is not that of the payload on this topic", header);
}

function checkMac(
  place: Place,
  { headerBytes, header, content, proof }: Structure,
  keys: OpeningKeys,
): Proved {
  const group = groupOf(place, header, keys);
  if ("kind" in group) return group;
  const key = group.macOf(header.sender, header.instance);
  const authenticated = coseStructure("MAC0", [headerBytes, encodeBinding(place), content]);
  if (!equal(createHmac("sha256", key).update(authenticated).digest(), proof)) {
    return refused("not-authentic", `its MAC is not that of the group's key on this topic${cause}`, header);
  }
  group.keepMac(header.sender, header.instance, key);
  return { kind: "proved", payload: content };
}

const cause = ": it was altered, moved here, or made with another key";

function checkSignature(place: Place, structure: Structure, keys: OpeningKeys): Proved {
  const { headerBytes, header, content, proof } = structure;
  // Where the topic is of a group, what was sealed in an epoch that is over counts no longer, though no key of it is needed.
  const group = groupOf(place, header, keys);
  if ("kind" in group && group.code !== "no-key") return group;
  const signers = signersOf(place, structure, keys);
  if (!isArrayOfKeys(signers)) return signers;
  const signed = coseStructure("Signature1", [headerBytes, encodeBinding(place), content]);
  const isProved = signers.some(
    (key) => key.algorithm === header.algorithm && isSignature(key, signed, proof),
  );
  return isProved
    ? { kind: "proved", payload: content }
    : refused(
        "not-authentic",
        `its signature is not one of "${header.sender}" on this topic${cause}`,
        header,
      );
}

function decrypt(place: Place, structure: Structure, keys: OpeningKeys): Proved {
  const { header, headerBytes, content, recipients } = structure;
  if (recipients !== undefined) {
    return keys.decryption === undefined
      ? refused("wrong-mode", "it is encrypted to recipients, and not with the key of a group", header)
      : decryptAsRecipient(place, { ...structure, recipients }, keys.decryption);
  }
  const group = groupOf(place, header, keys);
  if ("kind" in group) return group;
  const encryption = group.encryptionOf(header.sender, header.instance);
  if (encryption === undefined)
    return refused("no-key", "there is a key for MACs only for this topic", header);
  const nonce = numberedNonce(encryption.baseNonce, header.sequence);
  const aad = coseStructure("Encrypt0", [headerBytes, encodeBinding(place)]);
  const payload = aeadOpen("aes-256-gcm", { key: encryption.key, nonce, aad }, content);
  if (payload === undefined) {
    return refused("not-authentic", `the group's key does not open it on this topic${cause}`, header);
  }
  group.keepEncryption(header.sender, header.instance, encryption);
  return { kind: "proved", payload };
}

function decryptAsRecipient(
  place: Place,
  {
    header,
    headerBytes,
    content,
    recipients,
  }: Structure & { readonly recipients: NonNullable<Structure["recipients"]> },
  own: readonly DecryptionKey[],
): Proved {
  const context = encodeBinding(place);
  for (const key of own) {
    const sealed = recipients.find(({ keyId }) => equal(keyId, key.id));
    if (sealed === undefined) continue;
    const contentKey = openKey(key, sealed, context);
    if (contentKey?.length !== 32)
      return refused("not-authentic", `it does not open on this topic${cause}`, header);
    const nonce = numberedNonce(Buffer.alloc(nonceBytes), header.sequence);
    const aad = coseStructure("Encrypt", [headerBytes, encodeBinding(place, [encodeSealedKeys(recipients)])]);
    const payload = aeadOpen("aes-256-gcm", { key: contentKey, nonce, aad }, content);
    return payload === undefined
      ? refused("not-authentic", `it does not open on this topic${cause}`, header)
      : { kind: "proved", payload };
  }
  return refused("not-a-recipient", `it is encrypted to ${recipients.length} others`, header);
}

function checkInner(
  place: Place,
  { structure, signers }: { readonly structure: Structure; readonly signers: readonly VerifyingKey[] },
  bytes: Uint8Array,
): Proved {
  const { header, headerBytes, recipients } = structure;
  const inner = decodeSign1(bytes);
  if (inner === undefined) return refused("malformed", "what is encrypted is not a signed payload", header);
  const { payload, signature, algorithm } = inner;
  const covered = recipients === undefined ? [headerBytes] : [headerBytes, encodeSealedKeys(recipients)];
  const signed = coseStructure("Signature1", [inner.header, encodeBinding(place, covered), payload]);
  const isProved = signers.some((key) => key.algorithm === algorithm && isSignature(key, signed, signature));
  return isProved
    ? { kind: "proved", payload }
    : refused(
        "forged-sender",
        `it is of a member of the group, but its signature is not one of "${header.sender}"`,
        header,
      );
}

function groupOf({ topic, epoch }: Place, header: Header, keys: OpeningKeys): GroupKey | Refused {
  const found = keys.groupKey?.(topic, epoch) ?? "no-key";
  if (typeof found === "object") return found;
  const sentences: Readonly<Record<MissingKey, string>> = {
    "no-key": "there is no key for this topic",
    "future-epoch": `it is sealed with a key of epoch ${epoch}, which we were not given yet`,
    "expired-epoch": `it is sealed with a key of epoch ${epoch}, which is over or from before we were a member`,
  };
  return refused(found, sentences[found], header);
}

function signersOf(
  { topic, sender }: Place,
  { header }: Structure,
  keys: OpeningKeys,
): readonly VerifyingKey[] | Refused {
  const signers = keys.signers?.(topic, sender) ?? [];
  return signers.length > 0
    ? signers
    : refused("unknown-sender", `no key is known of "${sender}" that it may sign with on this topic`, header);
}

function isArrayOfKeys(value: readonly VerifyingKey[] | Refused): value is readonly VerifyingKey[] {
  return Array.isArray(value);
}

/** The flag is not protected: without this, everything that was ever sent could come again as retained. */
function retainedFault(
  topic: string,
  header: Header,
  { delivery, retained }: OpenOptions,
): Refused | undefined {
  if (delivery?.retained !== true) return undefined;
  if (retained === undefined)
    return refused("unexpected-retained", "no retained message is accepted here", header);
  return retained.take(topic)
    ? undefined
    : refused("unexpected-retained", "a retained message came already in this subscription", header);
}

/** What is wrong with the time at which a payload says that it was sealed. */
export function ageFault(
  header: Pick<Header, "sender" | "sealedAtSeconds">,
  { age, delivery }: Pick<OpenOptions, "age" | "delivery">,
): Refused | undefined {
  if (age === undefined) return undefined;
  const { sealedAtSeconds } = header;
  if (sealedAtSeconds === undefined) return refused("undated", "it does not say when it was sealed", header);
  const oldMs = age.nowMs - sealedAtSeconds * 1000;
  if (oldMs > age.maxMs && delivery?.retained !== true) {
    return refused(
      "too-old",
      `it was sealed ${Math.round(oldMs / 1000)} s ago, at the most ${age.maxMs / 1000} s are allowed`,
      header,
    );
  }
  return -oldMs > (age.aheadMaxMs ?? clockAheadMaxMs)
    ? refused("postdated", `it was sealed ${Math.round(-oldMs / 1000)} s from now`, header)
    : undefined;
}

function replayFault(header: Header, { guard, delivery }: OpenOptions): Refused | undefined {
  if (guard === undefined) return undefined;
  const verdict = guard.judge(header);
  if (verdict === "fresh") {
    guard.accept(header);
    return undefined;
  }
  // The broker keeps a retained message for every new subscription: that it was seen before, or long ago, says nothing.
  if (delivery?.retained === true && verdict !== "too-many-senders") return undefined;
  switch (verdict) {
    case "replayed":
      return delivery?.mayRepeat === true
        ? refused("duplicate", `message ${header.sequence} of "${header.sender}" came before`, header)
        : refused("replayed", `message ${header.sequence} of "${header.sender}" was accepted before`, header);
    case "outside-window":
      return refused("outside-window", farBehind(header.sequence, header.sender), header);
    case "too-many-senders":
      return refused("too-many-senders", "there are more senders than can be remembered", header);
  }
}

function refused(code: RefusalCode, reason: string, header?: Pick<Header, "sender">): Refused {
  return { kind: "refused", code, reason, ...(header === undefined ? {} : { claimedSender: header.sender }) };
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
