import { join } from "node:path";

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
/** Making it must not take more than a part of the time. */
const restFactor = 10;

export interface CrlPublisherOptions {
  /** The authority's directory; the CRL is kept there as `issuing.crl`, for whoever wants to take it elsewhere. */
  readonly pki: string;
  readonly clock: Clock;
  /** The authority as it is now; `url` is where its certificates say that the CRL is. */
  readonly authority: () => {
    readonly issuer: CertificateFields;
    readonly key: string;
    readonly url: string | undefined;
  };
  readonly revocations: (nowMs: number) => Iterable<Revocation>;
}

export interface PublishedCrl {
  readonly der: Buffer;
  /** Wall clock. */
  readonly thisUpdateMs: number;
  readonly nextUpdateMs: number;
}

/**
 * The current CRL of the issuing authority: made anew each hour and as soon as somebody asks after a change. 20,000 entries
 * take some 40 ms. @see RFC 5280 §5
 */
export class CrlPublisher {
  readonly #options: CrlPublisherOptions;
  readonly #path: string;
  #number: number;
  #current: PublishedCrl | undefined;
  #issuer: string = "";
  #isStale = false;
  /** Monotonic clock: before this only what is due is made again. */
  #restUntilMs = Number.NEGATIVE_INFINITY;

  /** @throws {DataDirectoryError} when the last CRL cannot be read. */
  constructor(options: CrlPublisherOptions) {
    this.#options = options;
    this.#path = join(options.pki, "issuing.crl");
    const last = decodeCrl(Buffer.from(readTextIfThere(this.#path) ?? ""));
    this.#number = last.kind === "value" ? Number.parseInt(last.value.number ?? "0", 16) : 0;
  }

  /** Something was revoked, or given back. */
  invalidate(): void {
    this.#isStale = true;
  }

  /** @throws {DataDirectoryError} when it cannot be written: its number would be used twice. */
  current(): PublishedCrl {
    const { clock, authority } = this.#options;
    const { issuer, url } = authority();
    const nowMs = clock.wallMs();
    const made = this.#current;
    const isDue =
      made === undefined ||
      nowMs >= made.thisUpdateMs + reissueMs ||
      nowMs < made.thisUpdateMs ||
      this.#issuer !== issuer.serialNumber + (url ?? "");
    if (!isDue && !(this.#isStale && clock.monotonicMs() >= this.#restUntilMs)) return made;
    return this.#make(nowMs);
  }

  #make(nowMs: number): PublishedCrl {
    const { clock, authority, revocations } = this.#options;
    const startedMs = clock.monotonicMs();
    const { issuer, key, url } = authority();
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
    replacePrivateFile(this.#path, toPem(crlPemLabel, der));
    this.#current = { der, thisUpdateMs, nextUpdateMs: thisUpdateMs + nextUpdateMs };
    this.#issuer = issuer.serialNumber + (url ?? "");
    this.#isStale = false;
    this.#restUntilMs = clock.monotonicMs() + (clock.monotonicMs() - startedMs) * restFactor;
    return this.#current;
  }
}
