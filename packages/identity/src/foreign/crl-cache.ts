import type { Clock } from "@postern/core/clock";
import { errorText } from "@postern/core/errors";
import type { CertificateFields } from "@postern/pki/certificate-fields";
import { decodeCrl, type Crl } from "@postern/pki/crl/decode";
import { verifyCrl } from "@postern/pki/crl/verify";

import { BoundedMap } from "../authentication/bounded-map.ts";
import type { CrlSource, StatusSources } from "./trust-anchor.ts";

/** CRLs that are kept; each may have the size that a fetch allows. */
const crlsMax = 32;
/** After a failure nobody is asked again for so long: clients that come back must not become a flood elsewhere. */
const failureMs = 10_000;

export type CrlResult =
  | { readonly kind: "crl"; readonly crl: Crl; readonly untilMs: number }
  | { readonly kind: "none"; readonly reason: string };

interface Kept {
  readonly crl: Crl | undefined;
  /** Monotonic clock: when it was asked for. */
  readonly askedMs: number;
  /** Why the last question brought nothing. */
  readonly failure: string | undefined;
}

/** CRLs of other authorities: read or fetched when they are wanted, kept while they are young, verified at each use. */
export class CrlCache {
  readonly #sources: StatusSources;
  readonly #clock: Clock;
  readonly #kept = new BoundedMap<Kept>(crlsMax);
  readonly #asking = new Map<string, Promise<Kept>>();

  constructor(sources: StatusSources, clock: Clock) {
    this.#sources = sources;
    this.#clock = clock;
  }

  /** The current CRL of `issuer` from this source. Never rejects. */
  async get(source: CrlSource, issuer: CertificateFields, refreshMs: number): Promise<CrlResult> {
    const name = source.kind === "file" ? source.path : source.url;
    const { crl, failure } =
      source.kind === "file" ? this.#read(source.path) : await this.#fetched(source, refreshMs);
    if (crl === undefined) return { kind: "none", reason: `the CRL ${name}: ${failure ?? "not there"}` };
    const verified = verifyCrl({ crl, issuer, nowMs: this.#clock.wallMs() });
    if (verified.kind === "valid") return { kind: "crl", crl, untilMs: verified.untilMs };
    const because = failure === undefined ? "" : `, and a newer one cannot be had: ${failure}`;
    return { kind: "none", reason: `the CRL ${name} is not used: ${verified.reason}${because}` };
  }

  #read(path: string): Kept {
    const last = this.#kept.get(path);
    const askedMs = this.#clock.monotonicMs();
    let kept: Kept;
    try {
      const bytes = this.#sources.readIfChanged(path);
      if (bytes === undefined && last !== undefined) return last;
      kept =
        bytes === undefined
          ? { crl: undefined, askedMs, failure: "it was put out of mind" }
          : decoded(bytes, last, askedMs);
    } catch (thrown) {
      kept = { crl: last?.crl, askedMs, failure: errorText(thrown) };
    }
    this.#kept.set(path, kept);
    return kept;
  }

  #fetched(source: CrlSource & { kind: "url" }, refreshMs: number): Kept | Promise<Kept> {
    const { url } = source;
    const last = this.#kept.get(url);
    const ageMs = last === undefined ? Infinity : this.#clock.monotonicMs() - last.askedMs;
    const isOver = (last?.crl?.nextUpdateMs ?? 0) <= this.#clock.wallMs();
    const waitMs = isOver || last?.failure !== undefined ? failureMs : refreshMs;
    if (last !== undefined && ageMs < waitMs) return last;
    let asking = this.#asking.get(url);
    if (asking === undefined) {
      asking = this.#fetch(source, last).finally(() => this.#asking.delete(url));
      this.#asking.set(url, asking);
    }
    // What is still good need not be waited for: whoever comes next has the newer one.
    return last?.crl !== undefined && !isOver && ageMs < refreshMs * 2 ? last : asking;
  }

  async #fetch({ url, configured }: CrlSource & { kind: "url" }, last: Kept | undefined): Promise<Kept> {
    const askedMs = this.#clock.monotonicMs();
    let kept: Kept;
    try {
      kept = decoded(await this.#sources.fetch({ url, configured, body: undefined }), last, askedMs);
    } catch (thrown) {
      kept = { crl: last?.crl, askedMs, failure: errorText(thrown) };
    }
    this.#kept.set(url, kept);
    return kept;
  }
}

/** What is no CRL, or an older one than we have, does not take its place. @see RFC 5280 §5.2.3 */
function decoded(bytes: Uint8Array, last: Kept | undefined, askedMs: number): Kept {
  const result = decodeCrl(bytes);
  if (result.kind === "malformed")
    return { crl: last?.crl, askedMs, failure: `it cannot be read: ${result.reason}` };
  const { value: crl } = result;
  if (last?.crl !== undefined && crl.thisUpdateMs < last.crl.thisUpdateMs)
    return { crl: last.crl, askedMs, failure: "an older one was given than before: it was replayed" };
  return { crl, askedMs, failure: undefined };
}
