import type { Clock } from "@postern/core/clock";
import { decodeCertificateFields, type CertificateFields } from "@postern/pki/certificate-fields";
import type { Certificate } from "@postern/pki/certificate";
import { crlCovers } from "@postern/pki/crl/verify";
import { revocationReasonName } from "@postern/pki/revocation";

import { CrlCache } from "./crl-cache.ts";
import { OcspCache } from "./ocsp-cache.ts";
import type { CrlSource, StatusSources, TrustAnchor } from "./trust-anchor.ts";

/** Sources of one certificate that are asked; the rest it names for nothing. */
const urlsMax = 2;

export type RevocationVerdict =
  /** None of them is revoked, as far as the policy wants to know. */
  | { readonly kind: "acceptable"; readonly undetermined: string | undefined }
  | { readonly kind: "revoked"; readonly reason: string }
  /** The policy wants to know, and it cannot be found out. */
  | { readonly kind: "undetermined"; readonly reason: string };

type Status =
  | { readonly kind: "good" }
  | { readonly kind: "revoked"; readonly reason: string }
  | { readonly kind: "undetermined"; readonly reason: string };

interface Link {
  readonly certificate: CertificateFields;
  readonly issuer: CertificateFields;
  readonly isLeaf: boolean;
}

/** Finds out whether certificates of other authorities are revoked, by CRL and OCSP. */
export class RevocationChecker {
  readonly #crls: CrlCache;
  readonly #ocsp: OcspCache;

  constructor(sources: StatusSources, clock: Clock) {
    this.#crls = new CrlCache(sources, clock);
    this.#ocsp = new OcspCache(sources, clock);
  }

  /** `path` from the leaf to the anchor; the anchor itself is not asked about. Never rejects. */
  async check(path: readonly Certificate[], anchor: TrustAnchor): Promise<RevocationVerdict> {
    if (anchor.policy === "off") return { kind: "acceptable", undetermined: undefined };
    const links = linksOf(path);
    if (links.length !== path.length - 1) return { kind: "undetermined", reason: "its path cannot be read" };
    const statuses = await Promise.all(links.map((link) => this.#status(link, anchor)));
    const revoked = statuses.find((status) => status.kind === "revoked");
    if (revoked !== undefined) return revoked;
    const undetermined = statuses.find((status) => status.kind === "undetermined");
    if (undetermined === undefined) return { kind: "acceptable", undetermined: undefined };
    return anchor.policy === "soft"
      ? { kind: "acceptable", undetermined: undetermined.reason }
      : undetermined;
  }

  async #status(link: Link, anchor: TrustAnchor): Promise<Status> {
    // What a person configured goes first: a list that says revoked is not overruled by an answer from elsewhere.
    const configured = await this.#byCrls(link, anchor.crls, anchor);
    if (configured.kind === "revoked") return configured;
    if (configured.kind === "good" && anchor.ocspUrl === undefined) return configured;
    const reasons = configured.kind === "undetermined" ? [configured.reason] : [];
    const { certificate } = link;
    // The responder that a person named knows devices; authorities between name their own.
    const urls =
      link.isLeaf && anchor.ocspUrl !== undefined ? [anchor.ocspUrl] : certificate.ocspUrls.slice(0, urlsMax);
    for (const url of urls) {
      const status = await this.#byOcsp(link, url, anchor);
      if (status.kind !== "undetermined") return status;
      reasons.push(status.reason);
    }
    if (configured.kind === "good") return configured;
    const named = certificate.crlUrls
      .slice(0, urlsMax)
      .map((url): CrlSource => ({ kind: "url", url, configured: false }));
    const byName = await this.#byCrls(link, named, anchor);
    if (byName.kind !== "undetermined") return byName;
    reasons.push(byName.reason);
    const known = reasons.filter((reason) => reason !== "");
    return {
      kind: "undetermined",
      reason:
        known.length === 0
          ? `${nameOf(link)} names no CRL and no OCSP responder, and none is configured`
          : known.join("; "),
    };
  }

  async #byCrls(link: Link, sources: readonly CrlSource[], { refreshMs }: TrustAnchor): Promise<Status> {
    const reasons: string[] = [];
    let isGood = false;
    for (const source of sources) {
      const result = await this.#crls.get(source, link.issuer, refreshMs);
      if (result.kind === "none") {
        reasons.push(result.reason);
        continue;
      }
      if (!crlCovers(result.crl, link.certificate)) {
        reasons.push("the CRL is for other certificates");
        continue;
      }
      const entry = result.crl.find(link.certificate.serialNumber);
      if (entry !== undefined) {
        const when = new Date(entry.revokedAtMs).toISOString();
        return {
          kind: "revoked",
          reason: `${nameOf(link)} was revoked at ${when} (${revocationReasonName(entry.reason)}), says the CRL`,
        };
      }
      isGood = true;
    }
    return isGood ? { kind: "good" } : { kind: "undetermined", reason: reasons.join("; ") };
  }

  async #byOcsp({ certificate, issuer, isLeaf }: Link, url: string, anchor: TrustAnchor): Promise<Status> {
    const { ocspUrl, nonceRequired, refreshMs } = anchor;
    const configured = url === ocspUrl;
    const result = await this.#ocsp.get({ url, configured, certificate, issuer, nonceRequired, refreshMs });
    switch (result.kind) {
      case "good":
        return { kind: "good" };
      case "revoked": {
        const when = new Date(result.revokedAtMs).toISOString();
        return {
          kind: "revoked",
          reason: `${nameOf({ isLeaf })} was revoked at ${when} (${result.reason}), says OCSP`,
        };
      }
      case "unknown":
        return {
          kind: "undetermined",
          reason: `the OCSP responder ${url} does not know ${nameOf({ isLeaf })}`,
        };
      case "invalid":
        return { kind: "undetermined", reason: result.reason };
    }
  }
}

function nameOf({ isLeaf }: Pick<Link, "isLeaf">): string {
  return isLeaf ? "it" : "its authority";
}

/** Each certificate with its issuer. */
function linksOf(path: readonly Certificate[]): Link[] {
  const fields = path.flatMap(({ x509 }) => {
    const decoded = decodeCertificateFields(x509.raw);
    return decoded.kind === "value" ? [decoded.value] : [];
  });
  return fields.slice(0, -1).flatMap((certificate, index) => {
    const issuer = fields[index + 1];
    return issuer === undefined ? [] : [{ certificate, issuer, isLeaf: index === 0 }];
  });
}
