import type { Clock } from "@postern/core/clock";
import type { CertificateFields } from "@postern/pki/certificate-fields";
import { encodeCertId, isIssuedBy, type CertId } from "@postern/pki/ocsp/cert-id";
import {
  OcspFailure,
  encodeOcspFailure,
  encodeOcspResponse,
  type CertificateStatus,
  type OcspSigner,
  type SingleAnswer,
} from "@postern/pki/ocsp/encode-response";
import { decodeOcspRequest } from "@postern/pki/ocsp/request";

/** How long an answer may be believed. */
const answerSeconds = 3_600;
/** Prepared answers that are kept; the one made longest ago gives way. One has about 900 bytes. */
const preparedMax = 10_000;
/** Answers a second that are signed because somebody asks: with a nonce, or about what nobody knows. */
const signaturesPerSecondMax = 200;

/** An authority that it answers for, and with which key. */
export interface Answerable {
  readonly issuer: CertificateFields;
  readonly signer: OcspSigner;
}

export interface OcspResponderOptions {
  readonly clock: Clock;
  /** As they are now, the one that signs new certificates first. */
  readonly authorities: () => readonly [Answerable, ...Answerable[]];
  /** By serial number, upper-case hexadecimal. */
  readonly statusOf: (serialNumber: string, nowMs: number) => CertificateStatus;
}

export interface OcspReply {
  /** OCSPResponse, DER. */
  readonly bytes: Uint8Array;
  /** Wall clock: since and until when others may keep it; `undefined` for what is told one client alone. */
  readonly shared: { readonly fromMs: number; readonly untilMs: number } | undefined;
}

interface Prepared {
  readonly bytes: Uint8Array;
  readonly signer: OcspSigner;
  readonly status: CertificateStatus;
  readonly fromMs: number;
  readonly untilMs: number;
}

function isSame(one: CertificateStatus, other: CertificateStatus): boolean {
  if (one.kind !== "revoked" || other.kind !== "revoked") return one.kind === other.kind;
  return one.revokedAtMs === other.revokedAtMs && one.reason === other.reason;
}

function failure(kind: OcspFailure): OcspReply {
  return { bytes: encodeOcspFailure(kind), shared: undefined };
}

/**
 * Answers OCSP requests from the registry: prepared answers for what is known, signed once and given to all until half their
 * time is over or the status changes; an answer of their own for those who send a nonce. @see RFC 6960, RFC 5019, RFC 9654
 */
export class OcspResponder {
  readonly #options: OcspResponderOptions;
  /** By CertID, oldest first. */
  readonly #prepared = new Map<string, Prepared>();
  #signatures = signaturesPerSecondMax;
  #refilledMs = 0;

  constructor(options: OcspResponderOptions) {
    this.#options = options;
  }

  /** Never throws for what `request` holds. */
  answer(request: Uint8Array): OcspReply {
    const decoded = decodeOcspRequest(request);
    if (decoded.kind === "malformed") return failure(OcspFailure.malformedRequest);
    const { certIds, nonce } = decoded.value;
    const asked = this.#options
      .authorities()
      .find(({ issuer }) => certIds.every((certId) => isIssuedBy(certId, issuer)));
    // About other authorities' certificates it may say nothing. @see RFC 5019 §2.2.3
    if (asked === undefined) return failure(OcspFailure.unauthorized);
    const { signer } = asked;
    const [certId] = certIds;
    if (certIds.length === 1 && nonce === undefined && certId !== undefined)
      return this.#answerAll(certId, signer);
    return this.#answerOne(certIds, { nonce, signer });
  }

  /** An answer about one of ours to hand out in TLS; `undefined` when it is not known. @see RFC 6066 §8 */
  staple(serialNumber: string): Uint8Array | undefined {
    const [{ issuer, signer }] = this.#options.authorities();
    const certId = { serialNumber, der: encodeCertId(issuer, serialNumber, "sha1") };
    const { bytes, shared } = this.#answerAll(certId, signer);
    return shared === undefined ? undefined : bytes;
  }

  #answerAll(certId: Pick<CertId, "serialNumber" | "der">, signer: OcspSigner): OcspReply {
    const nowMs = this.#options.clock.wallMs();
    const status = this.#options.statusOf(certId.serialNumber, nowMs);
    // Kept for nobody: whoever invents serial numbers would push out the answers about devices.
    if (status.kind === "unknown") return this.#answerOne([certId], { nonce: undefined, signer });
    const key = Buffer.from(certId.der).toString("latin1");
    const known = this.#prepared.get(key);
    const isFresh =
      known !== undefined &&
      known.signer === signer &&
      isSame(known.status, status) &&
      nowMs >= known.fromMs &&
      nowMs < (known.fromMs + known.untilMs) / 2;
    const prepared = isFresh ? known : this.#prepare(key, { ...certId, status, signer, nowMs });
    return { bytes: prepared.bytes, shared: { fromMs: prepared.fromMs, untilMs: prepared.untilMs } };
  }

  #prepare(
    key: string,
    what: { der: Uint8Array; status: CertificateStatus; signer: OcspSigner; nowMs: number },
  ): Prepared {
    const { der, status, signer, nowMs } = what;
    const answer = answerOf(der, status, nowMs);
    const bytes = encodeOcspResponse({ signer, answers: [answer], producedAtMs: nowMs, nonce: undefined });
    const prepared = { bytes, signer, status, fromMs: answer.thisUpdateMs, untilMs: answer.nextUpdateMs };
    this.#prepared.delete(key);
    const [oldest] = this.#prepared.keys();
    if (this.#prepared.size >= preparedMax && oldest !== undefined) this.#prepared.delete(oldest);
    this.#prepared.set(key, prepared);
    return prepared;
  }

  #answerOne(
    certIds: readonly Pick<CertId, "serialNumber" | "der">[],
    { nonce, signer }: { readonly nonce: Uint8Array | undefined; readonly signer: OcspSigner },
  ): OcspReply {
    if (!this.#maySign()) return failure(OcspFailure.tryLater);
    const nowMs = this.#options.clock.wallMs();
    const answers = certIds.map(({ der, serialNumber }) =>
      answerOf(der, this.#options.statusOf(serialNumber, nowMs), nowMs),
    );
    return { bytes: encodeOcspResponse({ signer, answers, producedAtMs: nowMs, nonce }), shared: undefined };
  }

  #maySign(): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const refill = ((nowMs - this.#refilledMs) * signaturesPerSecondMax) / 1_000;
    this.#signatures = Math.min(signaturesPerSecondMax, this.#signatures + refill);
    this.#refilledMs = nowMs;
    if (this.#signatures < 1) return false;
    this.#signatures -= 1;
    return true;
  }
}

function answerOf(certId: Uint8Array, status: CertificateStatus, nowMs: number): SingleAnswer {
  const thisUpdateMs = Math.floor(nowMs / 1_000) * 1_000;
  return { certId, status, thisUpdateMs, nextUpdateMs: thisUpdateMs + answerSeconds * 1_000 };
}
