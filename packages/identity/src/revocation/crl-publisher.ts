import type { Clock } from "@postern/core/clock";
import type { CertificateFields } from "@postern/pki/certificate-fields";
import { decodeCrl } from "@postern/pki/crl/decode";
import { crlPemLabel, encodeCrl } from "@postern/pki/crl/encode";
import { toPem } from "@postern/pki/pem";
import type { Revocation } from "@postern/pki/revocation";

import { readTextIfThere, replacePrivateFile } from "../files.ts";

/** By when there is a newer one: whoever cannot reach us for a day refuses. */
const nextUpdateMs = 24 * 3_600_000;
const reissueMs = 3_600_000;
/** Making it must not take more than a part of the time. The disk's does not count: each change is written once at the most. */
const restFactor = 10;

export interface CrlPublisherOptions {
  /** The CRL is kept in this file, for whoever wants to take it elsewhere. */
  readonly path: string;
  readonly clock: Clock;
  readonly issuer: CertificateFields;
  /** PEM. */
  readonly key: string;
  /** Where the authority's certificates say that the CRL is. */
  readonly url: string | undefined;
  /** Those of other authorities among them do no harm: nobody asks this one for their numbers. */
  readonly revocations: (nowMs: number) => Iterable<Revocation>;
}

export interface PublishedCrl {
  readonly der: Buffer;
  /** Wall clock. */
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

/**
 * The current CRL of an issuing authority: made anew each hour and as soon as somebody asks after a change. 20,000 entries
 * take some 40 ms. @see RFC 5280 §5
 */
export class CrlPublisher {
  readonly #options: CrlPublisherOptions;
  #number: number;
  #current: PublishedCrl | undefined;
  #isStale = false;
  /** Monotonic clock: before this only what is due is made again. */
  #restUntilMs = Number.NEGATIVE_INFINITY;

  /** @throws {DataDirectoryError} when the last CRL cannot be read. */
  constructor(options: CrlPublisherOptions) {
    this.#options = options;
    const last = decodeCrl(Buffer.from(readTextIfThere(options.path) ?? ""));
    this.#number = last.kind === "value" ? Number.parseInt(last.value.number ?? "0", 16) : 0;
  }

  /** Something was revoked, or given back. */
  invalidate(): void {
    this.#isStale = true;
  }

  /** @throws {DataDirectoryError} when it cannot be written: its number would be used twice. */
  current(): PublishedCrl {
    const { clock } = this.#options;
    const nowMs = clock.wallMs();
    const made = this.#current;
    const isDue = made === undefined || nowMs >= made.thisUpdateMs + reissueMs || nowMs < made.thisUpdateMs;
    if (!isDue && !(this.#isStale && clock.monotonicMs() >= this.#restUntilMs)) return made;
    return this.#make(nowMs);
  }

  #make(nowMs: number): PublishedCrl {
    const { path, clock, issuer, key, url, revocations } = this.#options;
    const startedMs = clock.monotonicMs();
    const thisUpdateMs = Math.floor(nowMs / 1_000) * 1_000;
    // Never a number again, also not after the file was lost. @see RFC 5280 §5.2.3
    this.#number = Math.max(this.#number + 1, Math.floor(nowMs / 1_000));
    const der = encodeCrl({
      issuer,
      key,
      number: this.#number,
      thisUpdateMs,
      nextUpdateMs: thisUpdateMs + nextUpdateMs,
      revocations: revocations(nowMs),
      ...(url === undefined ? {} : { url }),
    });
    const tookMs = clock.monotonicMs() - startedMs;
    replacePrivateFile(path, toPem(crlPemLabel, der));
    this.#current = { der, thisUpdateMs, nextUpdateMs: thisUpdateMs + nextUpdateMs };
    this.#isStale = false;
    this.#restUntilMs = clock.monotonicMs() + tookMs * restFactor;
    return this.#current;
  }
}
