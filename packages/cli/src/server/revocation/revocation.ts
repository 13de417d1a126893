import type { Clock } from "@postern/core/clock";
import { hostAndPort } from "@postern/core/host";
import type { Log } from "@postern/core/log";
import type { Authority } from "@postern/identity/authority";
import type { Installation } from "@postern/identity/installation";
import { revocationsOf, statusOf } from "@postern/identity/revocation/certificate-status";
import { CrlPublisher } from "@postern/identity/revocation/crl-publisher";
import { OcspResponder } from "@postern/identity/revocation/ocsp-responder";
import { obtainOcspSigner } from "@postern/identity/revocation/responder-certificate";
import { obtainRootCrl } from "@postern/identity/revocation/root-crl";
import { decodeCertificateFields, type CertificateFields } from "@postern/pki/certificate-fields";
import { decodeCrl } from "@postern/pki/crl/decode";
import { crlPemLabel } from "@postern/pki/crl/encode";
import type { OcspSigner } from "@postern/pki/ocsp/encode-response";
import { fromPem, toPem } from "@postern/pki/pem";

import type { RevocationConfiguration } from "../../config/revocation.ts";
import { serviceListenError } from "../listen-error.ts";
import {
  startStatusServer,
  type StatusAnswers,
  type StatusFile,
  type StatusServer,
} from "./status-server.ts";
import { crlPath, statusUrls } from "./status-urls.ts";

export interface RevocationOptions {
  readonly configuration: RevocationConfiguration | undefined;
  /** The authority's directory. */
  readonly pki: string;
  /** As it is now. */
  readonly installation: () => Installation;
  readonly clock: Clock;
  readonly log: Log;
}

/** The authority that signs devices, as this service needs it. */
interface Issuing {
  readonly authority: Authority;
  readonly issuer: CertificateFields;
  readonly key: string;
  readonly signer: OcspSigner;
  readonly url: string | undefined;
}

/** Tells which certificates of ours are revoked: the answer that the server staples, and CRL and OCSP over HTTP where asked for. */
export class Revocation implements AsyncDisposable {
  readonly #options: RevocationOptions;
  readonly #publisher: CrlPublisher;
  readonly #responder: OcspResponder;
  readonly #stack = new AsyncDisposableStack();
  #issuing: Issuing;
  #rootCrl: StatusFile | undefined;
  #server: StatusServer | undefined;

  private constructor(options: RevocationOptions, issuing: Issuing) {
    this.#options = options;
    this.#issuing = issuing;
    const { pki, clock, installation } = options;
    const { registry } = installation();
    const authority = () => this.#issuing;
    this.#publisher = new CrlPublisher({
      pki,
      clock,
      authority,
      revocations: (nowMs) => revocationsOf(registry, nowMs),
    });
    this.#responder = new OcspResponder({
      clock,
      authority,
      statusOf: (serialNumber, nowMs) =>
        installation().server.certificate.serialNumber === serialNumber
          ? { kind: "good" }
          : statusOf(registry, serialNumber, nowMs),
    });
    this.#stack.use(registry.onChange(() => this.#publisher.invalidate()));
  }

  /** @throws {ListenError} when it is to be served and cannot; as `obtainOcspSigner`. */
  static async start(options: RevocationOptions): Promise<Revocation> {
    const revocation = new Revocation(options, await issuingOf(options));
    try {
      await revocation.#listen();
    } catch (thrown) {
      await revocation[Symbol.asyncDispose]();
      throw thrown;
    }
    return revocation;
  }

  /** Where CRL and OCSP really are; `undefined` when nowhere. */
  get url(): string | undefined {
    return this.#server?.url;
  }

  /** The OCSP answer that goes with the server's certificate (DER). @see RFC 6066 §8 */
  staple(): Uint8Array | undefined {
    return this.#responder.staple(this.#options.installation().server.certificate.serialNumber);
  }

  /** To be called now and then, and when the authority is another: changes keys and lists whose time it is. @throws */
  async reload(): Promise<void> {
    this.#issuing = await issuingOf(this.#options);
    this.#rootCrl = readRootCrl(this.#options, this.#issuing.authority);
    const { configuration, clock, log } = this.#options;
    const leftMs = (this.#rootCrl?.untilMs ?? 0) - clock.wallMs();
    if (configuration !== undefined && leftMs < rootCrlWarnMs)
      log.warn(
        { daysLeft: Math.max(Math.floor(leftMs / 86_400_000), 0) },
        "the CRL of the root ends: put root.key into pki/ and reload, or programs that check every authority will refuse all devices",
      );
    if (this.#server !== undefined) this.#publisher.current();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  async #listen(): Promise<void> {
    const { configuration, clock, log } = this.#options;
    if (configuration === undefined) return;
    const { host, port } = configuration;
    await this.reload();
    try {
      this.#server = this.#stack.use(await startStatusServer({ host, port, clock, log }, this.#answers()));
    } catch (thrown) {
      const url = `http://${hostAndPort(host, port)}`;
      throw serviceListenError({ service: "revocation lists", url, key: "revocation.url" }, thrown);
    }
  }

  #answers(): StatusAnswers {
    const { clock } = this.#options;
    const issuing = (): StatusFile => {
      const { der, thisUpdateMs, nextUpdateMs } = this.#publisher.current();
      // It is made again each hour, and sooner when something is revoked: caches shall ask.
      return {
        bytes: der,
        fromMs: thisUpdateMs,
        untilMs: Math.min(nextUpdateMs, clock.wallMs() + crlCacheMs),
      };
    };
    const all = (): StatusFile => {
      const current = issuing();
      const pem = toPem(crlPemLabel, current.bytes);
      const rootPem = this.#rootCrl === undefined ? "" : toPem(crlPemLabel, this.#rootCrl.bytes);
      return { ...current, bytes: Buffer.from(pem + rootPem) };
    };
    const type = "application/pkix-crl";
    return {
      files: {
        [crlPath]: { type, read: issuing },
        "/crl/root.crl": { type, read: () => this.#rootCrl },
        "/crl/all.pem": { type: "application/x-pem-file", read: all },
      },
      ocsp: (request) => this.#responder.answer(request),
      nowMs: () => clock.wallMs(),
    };
  }
}

const crlCacheMs = 60_000;
/** The root's key may be far away. */
const rootCrlWarnMs = 60 * 86_400_000;

async function issuingOf({ pki, installation, clock, configuration }: RevocationOptions): Promise<Issuing> {
  const { authority } = installation();
  const fields = decodeCertificateFields(authority.issuing.x509.raw);
  if (fields.kind === "malformed") throw new Error(`our authority cannot be read: ${fields.reason}`);
  return {
    authority,
    issuer: fields.value,
    key: authority.issuer.key,
    signer: await obtainOcspSigner(pki, authority, clock.wallMs()),
    url: statusUrls(configuration)?.crl,
  };
}

function readRootCrl({ pki, clock }: RevocationOptions, authority: Authority): StatusFile | undefined {
  const pem = obtainRootCrl(pki, authority, clock.wallMs());
  const [bytes] = pem === undefined ? [] : fromPem(crlPemLabel, pem);
  const crl = bytes === undefined ? undefined : decodeCrl(bytes);
  if (bytes === undefined || crl?.kind !== "value") return undefined;
  const { thisUpdateMs, nextUpdateMs = thisUpdateMs } = crl.value;
  return { bytes, fromMs: thisUpdateMs, untilMs: nextUpdateMs };
}
