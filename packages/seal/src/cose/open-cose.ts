import { createSecretKey, type KeyObject } from "node:crypto";

import { encodeCbor } from "../cbor/encode.ts";
import type { CborValue } from "../cbor/value.ts";
import { contentAlgorithms, equalBytes, macAlgorithms, signatureAlgorithms } from "./algorithms.ts";
import { parameter, type CoseHeaders, type CoseMessage } from "./message.ts";
import { contentKeyOf, type KeyPurpose, type RecipientOptions } from "./recipients.ts";
import { label } from "./registry.ts";

export type CoseRefusal =
  | "malformed"
  | "unknown-algorithm"
  /** It has a parameter that must be understood, and is not. */
  | "critical"
  /** The key is none that the message can be opened with. */
  | "wrong-key"
  /** It was altered, belongs to something else, or was made with another key. */
  | "not-authentic";

export type CoseOpenResult =
  | { readonly kind: "opened"; readonly payload: Uint8Array }
  | { readonly kind: "refused"; readonly code: CoseRefusal; readonly reason: string };

export interface CoseOpenOptions extends RecipientOptions {
  /** What the message belongs to and does not contain. */
  readonly externalAad?: Uint8Array | undefined;
  /** The content, where it came by another way. */
  readonly detached?: Uint8Array | undefined;
  /** What a Partial IV is added to. @see RFC 9052 §3.1 */
  readonly baseIv?: Uint8Array | undefined;
  /** Labels of critical parameters that the caller looks after. */
  readonly understood?: readonly CborValue[];
}

const empty = new Uint8Array();
/** Labels that are looked after here. */
const known: ReadonlySet<CborValue> = new Set([
  label.alg,
  label.crit,
  label.contentType,
  label.kid,
  label.iv,
  label.partialIv,
]);

/**
 * Checks or decrypts any COSE message with one key: a public key for signatures, a secret key for `mac0` and `encrypt0`, the
 * recipient's secret or private key for `mac` and `encrypt`. Never throws for what somebody sent. @see RFC 9052 §4 to §6
 */
export function openCose(
  message: CoseMessage,
  key: KeyObject,
  options: CoseOpenOptions = {},
): CoseOpenResult {
  const fault = criticalFault(message, options);
  if (fault !== undefined) return fault;
  const content = message.content ?? options.detached;
  if (content === undefined)
    return refused("malformed", "its content came by another way, and was not given");
  try {
    return openWith({ message, content, key, options });
  } catch {
    // The key's kind, curve or length is not one that the algorithm takes.
    return refused("wrong-key", "the key is of another kind than the algorithm takes");
  }
}

interface Job {
  readonly message: CoseMessage;
  readonly content: Uint8Array;
  readonly key: KeyObject;
  readonly options: CoseOpenOptions;
}

function openWith(job: Job): CoseOpenResult {
  const { message } = job;
  switch (message.kind) {
    case "sign1":
      return checkSignature(job, message, message.proof, ["Signature1", message.protectedBytes]);
    case "sign": {
      let last: CoseOpenResult = refused("malformed", "it has no signatures");
      for (const each of message.signatures) {
        last =
          criticalFault(each, job.options) ??
          checkSignature(job, each, each.signature, [
            "Signature",
            message.protectedBytes,
            each.protectedBytes,
          ]);
        if (last.kind === "opened") return last;
      }
      return last;
    }
    case "mac0":
      return checkMac(job, job.key);
    case "encrypt0":
      return decrypt(job, job.key);
    case "mac":
    case "encrypt":
      return openAsRecipient(job);
  }
}

function checkSignature(
  { content, key, options }: Job,
  headers: CoseHeaders,
  signature: Uint8Array,
  structure: readonly CborValue[],
): CoseOpenResult {
  const algorithm = parameter(headers, label.alg);
  const verify = signatureAlgorithms.get(algorithm);
  if (verify === undefined) return unknown(algorithm);
  const signed = encodeCbor([...structure, options.externalAad ?? empty, content]);
  return verify(key, signed, signature)
    ? { kind: "opened", payload: content }
    : refused("not-authentic", "no signature is one of this key");
}

function checkMac({ message, content, options }: Job, key: KeyObject): CoseOpenResult {
  const number = parameter(message, label.alg);
  const algorithm = macAlgorithms.get(number);
  if (algorithm === undefined) return unknown(number);
  const context = message.kind === "mac0" ? "MAC0" : "MAC";
  const authenticated = encodeCbor([context, message.protectedBytes, options.externalAad ?? empty, content]);
  return equalBytes(algorithm.compute(key, authenticated), message.proof)
    ? { kind: "opened", payload: content }
    : refused("not-authentic", "its MAC is not that of this key");
}

function decrypt({ message, content, options }: Job, key: KeyObject): CoseOpenResult {
  const number = parameter(message, label.alg);
  const algorithm = contentAlgorithms.get(number);
  if (algorithm === undefined) return unknown(number);
  const nonce = nonceOf(message, algorithm.nonceBytes, options.baseIv);
  if (nonce === undefined) return refused("malformed", "it has no nonce of the right length");
  const context = message.kind === "encrypt0" ? "Encrypt0" : "Encrypt";
  const aad = encodeCbor([context, message.protectedBytes, options.externalAad ?? empty]);
  const payload = algorithm.open({ key, nonce, aad }, content);
  return payload === undefined
    ? refused("not-authentic", "it does not open with this key")
    : { kind: "opened", payload };
}

function openAsRecipient(job: Job): CoseOpenResult {
  const { message, key, options } = job;
  const purpose = purposeOf(message);
  if (purpose === undefined) return unknown(parameter(message, label.alg));
  let last: CoseOpenResult = refused("wrong-key", "it is for no recipient with this key");
  for (const recipient of message.recipients) {
    const contentKey = contentKeyOf(recipient, key, purpose, options);
    if (contentKey === "unknown-algorithm") last = unknown(parameter(recipient, label.alg));
    if (typeof contentKey === "string") continue;
    const opened = openContent(job, createSecretKey(contentKey));
    if (opened.kind === "opened") return opened;
    last = opened;
  }
  return last;
}

function openContent(job: Job, key: KeyObject): CoseOpenResult {
  try {
    return job.message.kind === "mac" ? checkMac(job, key) : decrypt(job, key);
  } catch {
    return refused(
      "wrong-key",
      "the key that the recipient is given is not one that the content's algorithm takes",
    );
  }
}

function purposeOf(message: CoseMessage): KeyPurpose | undefined {
  const algorithm = parameter(message, label.alg);
  const found = message.kind === "mac" ? macAlgorithms.get(algorithm) : contentAlgorithms.get(algorithm);
  return found === undefined || typeof algorithm !== "number"
    ? undefined
    : { algorithm, keyBytes: found.keyBytes };
}

function nonceOf(
  headers: CoseHeaders,
  bytes: number,
  baseIv: Uint8Array | undefined,
): Uint8Array | undefined {
  const iv = parameter(headers, label.iv);
  if (iv instanceof Uint8Array) return iv.length === bytes ? iv : undefined;
  const partial = parameter(headers, label.partialIv);
  if (!(partial instanceof Uint8Array) || partial.length > bytes || baseIv?.length !== bytes)
    return undefined;
  const nonce = Buffer.from(baseIv);
  for (const [index, byte] of partial.entries()) {
    const at = bytes - partial.length + index;
    nonce[at] = (nonce[at] ?? 0) ^ byte;
  }
  return nonce;
}

/** @see RFC 9052 §3.1 (crit): it is protected, and names parameters that are there and that must be understood. */
function criticalFault(
  headers: CoseHeaders,
  { understood = [] }: CoseOpenOptions,
): CoseOpenResult | undefined {
  if (headers.unprotected.has(label.crit))
    return refused("malformed", "its critical parameters are not protected");
  const critical = headers.protected.get(label.crit);
  if (critical === undefined) return undefined;
  if (!Array.isArray(critical) || critical.length === 0)
    return refused("malformed", "its critical parameters are no list");
  const labels: readonly CborValue[] = critical;
  for (const each of labels) {
    if (known.has(each) || understood.includes(each)) continue;
    return refused("critical", `the parameter ${shown(each)} must be understood, and is not`);
  }
  return undefined;
}

function shown(value: CborValue): string {
  return typeof value === "string"
    ? JSON.stringify(value)
    : typeof value === "number"
      ? `${value}`
      : "of no name";
}

function unknown(algorithm: CborValue): CoseOpenResult {
  return refused("unknown-algorithm", `the algorithm ${shown(algorithm)} is not known`);
}

function refused(code: CoseRefusal, reason: string): CoseOpenResult {
  return { kind: "refused", code, reason };
}
