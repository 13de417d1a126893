import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { CertificateFields } from "@postern/pki/certificate-fields";
import { encodeOcspRequest, nonceBytes } from "@postern/pki/ocsp/request";
import { verifyOcspResponse, type OcspVerifyResult } from "@postern/pki/ocsp/verify";

import { BoundedMap } from "../authentication/bounded-map.ts";
import type { StatusSources } from "./trust-anchor.ts";

/** Answers that are kept, a few hundred bytes each. */
const answersMax = 20_000;
/** After a failure nobody is asked again for so long. */
const failureMs = 10_000;

interface Kept {
  readonly result: OcspVerifyResult;
  /** Monotonic clock: until when it is not asked again. */
  readonly freshUntilMs: number;
}

export interface OcspQuery {
  readonly url: string;
  /** The URL is a person's, not the certificate's. */
  readonly configured: boolean;
  readonly certificate: CertificateFields;
  readonly issuer: CertificateFields;
  readonly nonceRequired: boolean;
  readonly refreshMs: number;
}

/** What OCSP responders of other authorities say: asked when it is wanted, believed for as long as they say and we like. */
export class OcspCache {
  readonly #sources: StatusSources;
  readonly #clock: Clock;
  readonly #kept = new BoundedMap<Kept>(answersMax);
  readonly #asking = new Map<string, Promise<OcspVerifyResult>>();
  /** By URL: until when (monotonic clock) it is not asked, because it did not answer. */
  readonly #down = new BoundedMap<{ readonly untilMs: number; readonly reason: string }>(256);

  constructor(sources: StatusSources, clock: Clock) {
    this.#sources = sources;
    this.#clock = clock;
  }

  /** Never rejects: without an answer the result is `invalid`, with the reason. */
  get(query: OcspQuery): OcspVerifyResult | Promise<OcspVerifyResult> {
    const { url, certificate, issuer } = query;
    const key = `${url} ${Buffer.from(issuer.publicKey).toString("latin1")} ${certificate.serialNumber}`;
    const last = this.#kept.get(key);
    const nowMs = this.#clock.monotonicMs();
    const isStill =
      last !== undefined && (last.result.kind === "invalid" || last.result.untilMs > this.#clock.wallMs());
    if (isStill && nowMs < last.freshUntilMs) return last.result;
    const down = this.#down.get(url);
    if (down !== undefined && nowMs < down.untilMs)
      return isStill ? last.result : { kind: "invalid", reason: down.reason };
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#ask(query, key).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking;
  }

  async #ask(query: OcspQuery, key: string): Promise<OcspVerifyResult> {
    const { url, configured, certificate, issuer, nonceRequired, refreshMs } = query;
    const { serialNumber } = certificate;
    const nonce = this.#sources.nonce(nonceBytes);
    let response: Uint8Array;
    try {
      const body = encodeOcspRequest({ serialNumber, issuer, nonce });
      response = await this.#sources.fetch({ url, configured, body });
    } catch (thrown) {
      const reason = `the OCSP responder ${url}: ${errorText(thrown)}`;
      this.#down.set(url, { untilMs: this.#clock.monotonicMs() + failureMs, reason });
      const last = this.#kept.get(key);
      const isStill =
        last !== undefined && last.result.kind !== "invalid" && last.result.untilMs > this.#clock.wallMs();
      return isStill ? last.result : { kind: "invalid", reason };
    }
    const nowMs = this.#clock.wallMs();
    const verified = verifyOcspResponse({ response, serialNumber, issuer, nonce, nonceRequired, nowMs });
    const result: OcspVerifyResult =
      verified.kind === "invalid"
        ? {
            kind: "invalid",
            reason: `the answer of the OCSP responder ${url} is not used: ${verified.reason}`,
          }
        : verified;
    const keepMs = result.kind === "invalid" ? failureMs : refreshMs;
    this.#kept.set(key, { result, freshUntilMs: this.#clock.monotonicMs() + keepMs });
    return result;
  }
}
