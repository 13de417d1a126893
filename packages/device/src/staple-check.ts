import {
  checkServerIdentity,
  type PeerCertificate,
  type DetailedPeerCertificate,
  type TLSSocket,
} from "node:tls";

import { decodeCertificateFields } from "@postern/pki/certificate-fields";
import { verifyOcspResponse } from "@postern/pki/ocsp/verify";

/** The code of the error for a server whose certificate was revoked, or promises a stapled answer that does not come. */
export const stapleRefused = "POSTERN_STAPLE_REFUSED";

/** `soft`: an answer that says "revoked" counts, one that is missing does not. `require`: as if every certificate promised one. */
export type StaplePolicy = "soft" | "require";

function isDetailed(certificate: PeerCertificate): certificate is DetailedPeerCertificate {
  return "issuerCertificate" in certificate;
}

function objection(sentence: string): Error {
  return Object.assign(new Error(sentence), { code: stapleRefused });
}

/**
 * What a server staples to its certificate, for one connection: refuses one that is revoked, and one whose certificate
 * promises an answer (must-staple) when none comes, or none that counts. Node asks for the answer and looks at none of this.
 * A bad answer without such a promise counts for nothing, as for every other client. @see RFC 6066 §8, RFC 7633 §4.2
 */
export class StapleCheck {
  readonly #policy: StaplePolicy;
  readonly #nowMs: () => number;
  #response: Uint8Array | undefined;

  constructor(policy: StaplePolicy = "soft", nowMs: () => number = Date.now) {
    this.#policy = policy;
    this.#nowMs = nowMs;
  }

  /** The answer comes in the handshake, before the server's identity is checked. */
  listen(socket: TLSSocket): void {
    socket.once("OCSPResponse", (response: Buffer | null) => {
      this.#response = response ?? undefined;
    });
  }

  /** For `tls.connect`: the check of names, and this one. */
  readonly checkServerIdentity = (host: string, certificate: PeerCertificate): Error | undefined =>
    checkServerIdentity(host, certificate) ?? this.#objectionTo(certificate);

  #objectionTo(certificate: PeerCertificate): Error | undefined {
    const fields = decodeCertificateFields(certificate.raw);
    // OpenSSL read it; what we cannot read promises nothing to us.
    if (fields.kind === "malformed")
      return this.#policy === "require" ? objection("its certificate cannot be read") : undefined;
    const { mustStaple, serialNumber } = fields.value;
    const required = mustStaple || this.#policy === "require";
    const demand = mustStaple
      ? "its certificate promises proof that it is not revoked (must-staple)"
      : "we ask for proof that its certificate is not revoked";
    if (this.#response === undefined)
      return required ? objection(`${demand}, and none came with it`) : undefined;
    const issuer = isDetailed(certificate)
      ? decodeCertificateFields(certificate.issuerCertificate.raw)
      : undefined;
    const verdict =
      issuer?.kind === "value"
        ? verifyOcspResponse({
            response: this.#response,
            serialNumber,
            issuer: issuer.value,
            nonce: undefined,
            nonceRequired: false,
            nowMs: this.#nowMs(),
          })
        : ({ kind: "invalid", reason: "its authority's certificate is not there" } as const);
    if (verdict.kind === "revoked") {
      const when = new Date(verdict.revokedAtMs).toISOString();
      return objection(`its certificate was revoked at ${when} (${verdict.reason})`);
    }
    if (!required || verdict.kind === "good") return undefined;
    const why = verdict.kind === "unknown" ? "it says that it does not know the certificate" : verdict.reason;
    return objection(`${demand}, and what came is none: ${why}`);
  }
}
