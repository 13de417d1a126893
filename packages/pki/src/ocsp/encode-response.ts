import { createPrivateKey, type KeyObject } from "node:crypto";

import { keyHash, type CertificateFields } from "../certificate-fields.ts";
import { contextPrimitiveTag } from "../der/tag.ts";
import {
  bitString,
  element,
  enumerated,
  explicit,
  generalizedTime,
  objectIdentifier,
  octetString,
  sequence,
} from "../der/writer.ts";
import { RevocationReason } from "../revocation.ts";
import { sign, signatureAlgorithm } from "../signature.ts";
import { encodeNonce } from "./request.ts";

/** @see RFC 6960 §4.2.1 */
export const basicResponseType = "1.3.6.1.5.5.7.48.1.1";

/** Why there is no answer. Anybody can send one: they are not signed. @see RFC 6960 §4.2.1 */
export const OcspFailure = { malformedRequest: 1, internalError: 2, tryLater: 3, unauthorized: 6 } as const;
export type OcspFailure = (typeof OcspFailure)[keyof typeof OcspFailure];

export function encodeOcspFailure(failure: OcspFailure): Buffer {
  return sequence(enumerated(failure));
}

/** @see RFC 6960 §2.2 */
export type CertificateStatus =
  | { readonly kind: "good" }
  | { readonly kind: "revoked"; readonly revokedAtMs: number; readonly reason: RevocationReason }
  /** The responder never heard of such a certificate. */
  | { readonly kind: "unknown" };

export interface SingleAnswer {
  /** CertID (DER), as it was asked. */
  readonly certId: Uint8Array;
  readonly status: CertificateStatus;
  /** Wall clock: since when this is known to be true. */
  readonly thisUpdateMs: number;
  /** Until when it may be believed. */
  readonly nextUpdateMs: number;
}

/** Who answers: a certificate with the purpose OCSPSigning from the authority whose certificates it answers for. */
export class OcspSigner {
  readonly certificate: Uint8Array;
  readonly key: KeyObject;
  readonly responderId: Buffer;

  /** `key` is PEM: a secret. */
  constructor({
    certificate,
    fields,
    key,
  }: {
    certificate: Uint8Array;
    fields: CertificateFields;
    key: string;
  }) {
    this.certificate = certificate;
    this.key = createPrivateKey(key);
    this.responderId = explicit(2, octetString(keyHash(fields)));
  }
}

export interface OcspAnswer {
  readonly signer: OcspSigner;
  readonly answers: readonly SingleAnswer[];
  /** Wall clock. */
  readonly producedAtMs: number;
  /** As it was asked; `undefined` for an answer that is given to many. */
  readonly nonce: Uint8Array | undefined;
}

/** A signed answer (DER). @see RFC 6960 §4.2.1, RFC 5019 §2.2 */
export function encodeOcspResponse({ signer, answers, producedAtMs, nonce }: OcspAnswer): Buffer {
  const data = sequence(
    signer.responderId,
    generalizedTime(producedAtMs),
    sequence(...answers.map(encodeSingle)),
    ...(nonce === undefined ? [] : [explicit(1, sequence(encodeNonce(nonce)))]),
  );
  const basic = sequence(
    data,
    signatureAlgorithm(signer.key),
    bitString(sign(signer.key, data)),
    explicit(0, sequence(signer.certificate)),
  );
  return sequence(
    enumerated(0),
    explicit(0, sequence(objectIdentifier(basicResponseType), octetString(basic))),
  );
}

function encodeSingle({ certId, status, thisUpdateMs, nextUpdateMs }: SingleAnswer): Buffer {
  return sequence(
    certId,
    encodeStatus(status),
    generalizedTime(thisUpdateMs),
    explicit(0, generalizedTime(nextUpdateMs)),
  );
}

function encodeStatus(status: CertificateStatus): Buffer {
  switch (status.kind) {
    case "good":
      return element(contextPrimitiveTag(0));
    case "unknown":
      return element(contextPrimitiveTag(2));
    case "revoked": {
      const { revokedAtMs, reason } = status;
      const reasons = reason === RevocationReason.unspecified ? [] : [explicit(0, enumerated(reason))];
      return explicit(1, generalizedTime(revokedAtMs), ...reasons);
    }
  }
}
