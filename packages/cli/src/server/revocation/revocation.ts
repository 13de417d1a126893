import { join } from "node:path";

import type { Clock } from "@postern/core/clock";
import { hostAndPort } from "@postern/core/host";
import type { Log } from "@postern/core/log";
import type { IssuingAuthority } from "@postern/identity/authority";
import type { Installation } from "@postern/identity/installation";
import { revocationsOf, statusOf } from "@postern/identity/revocation/certificate-status";
import { CrlPublisher } from "@postern/identity/revocation/crl-publisher";
import { OcspResponder, type Answerable } from "@postern/identity/revocation/ocsp-responder";
import { obtainOcspSigner } from "@postern/identity/revocation/responder-certificate";
import { obtainRootCrl } from "@postern/identity/revocation/root-crl";
import type { Certificate } from "@postern/pki/certificate";
import { decodeCertificateFields, type CertificateFields } from "@postern/pki/certificate-fields";
import { decodeCrl } from "@postern/pki/crl/decode";
import { crlPemLabel } from "@postern/pki/crl/encode";
import type { Issuer } from "@postern/pki/issue";
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

/** An authority that signs devices, or did, as this service needs it. */
interface Issuing extends Answerable {
  readonly serialNumber: string;
  /** What its files have in their names; nothing for the present one. */
  readonly mark: string;
  readonly crl: CrlPublisher;
}

type AllIssuing = readonly [Issuing, ...Issuing[]];

/** Tells which certificates of ours are revoked: the answer that the server staples, and CRL and OCSP over HTTP where asked for. */
export class Revocation implements AsyncDisposable {
  readonly #options: RevocationOptions;
  readonly #responder: OcspResponder;
  readonly #stack = new AsyncDisposableStack();
  /** The present one first. */
  #issuing: AllIssuing;
  #rootCrl: StatusFile | undefined;
  #server: StatusServer | undefined;

  private constructor(options: RevocationOptions, issuing: AllIssuing) {
    this.#options = options;
    this.#issuing = issuing;
    const { clock, installation } = options;
    const { registry } = installation();
    this.#responder = new OcspResponder({
      clock,
      authorities: () => this.#issuing,
      statusOf: (serialNumber, nowMs) =>
        installation().server.certificate.serialNumber === serialNumber
          ? { kind: "good" }
          : statusOf(registry, serialNumber, nowMs),
    });
    this.#stack.use(
      registry.onChange(() => {
        for (const { crl } of this.#issuing) crl.invalidate();
      }),
    );
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
    this.#issuing = await issuingOf(this.#options, this.#issuing);
    this.#rootCrl = readRootCrl(this.#options);
    const { configuration, clock, log } = this.#options;
    const leftMs = (this.#rootCrl?.untilMs ?? 0) - clock.wallMs();
    if (configuration !== undefined && leftMs < rootCrlWarnMs)
      log.warn(
        { daysLeft: Math.max(Math.floor(leftMs / 86_400_000), 0) },
        "the CRL of the root ends: put root.key into pki/ and reload, or programs that check every authority will refuse all devices",
      );
    if (this.#server === undefined) return;
    for (const { crl } of this.#issuing) crl.current();
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
    const listOf = ({ crl }: Issuing): StatusFile => {
      const { der, thisUpdateMs, nextUpdateMs } = crl.current();
      // It is made again each hour, and sooner when something is revoked: caches shall ask.
      return {
        bytes: der,
        fromMs: thisUpdateMs,
        untilMs: Math.min(nextUpdateMs, clock.wallMs() + crlCacheMs),
      };
    };
    const all = (): StatusFile => {
      const lists = this.#issuing.map(listOf);
      const pems = [...lists, this.#rootCrl].flatMap((list) =>
        list === undefined ? [] : toPem(crlPemLabel, list.bytes),
      );
      return {
        bytes: Buffer.from(pems.join("")),
        fromMs: Math.max(...lists.map(({ fromMs }) => fromMs)),
        untilMs: Math.min(...lists.map(({ untilMs }) => untilMs)),
      };
    };
    const file = (path: string): StatusFile | undefined => {
      if (path === "/crl/all.pem") return all();
      if (path === "/crl/root.crl") return this.#rootCrl;
      if (path === "/crl/issuing.crl") return listOf(this.#issuing[0]);
      const named = this.#issuing.find(({ serialNumber }) => path === crlPath(serialNumber));
      return named === undefined ? undefined : listOf(named);
    };
    return {
      file: (path) => {
        const found = file(path);
        if (found === undefined) return undefined;
        return { ...found, type: path.endsWith(".pem") ? "application/x-pem-file" : "application/pkix-crl" };
      },
      ocsp: (request) => this.#responder.answer(request),
      nowMs: () => clock.wallMs(),
    };
  }
}

const crlCacheMs = 60_000;
/** The root's key may be far away. */
const rootCrlWarnMs = 60 * 86_400_000;

/** The authorities as they are now. What `before` has published is not published again. */
async function issuingOf(options: RevocationOptions, before: readonly Issuing[] = []): Promise<AllIssuing> {
  const { authority } = options.installation();
  const { issuing: certificate, issuer, former } = authority;
  const make = async (each: IssuingAuthority, mark: string): Promise<Issuing> => {
    const { serialNumber } = each.certificate;
    const path = (name: string): string => join(options.pki, name);
    const signer = await obtainOcspSigner(path(`ocsp${mark}.pem`), each, options.clock.wallMs());
    const known = before.find((one) => one.serialNumber === serialNumber);
    // The present one's list changes its file when the authority is replaced.
    if (known?.mark === mark) return { ...known, signer };
    const fields = fieldsOf(each.certificate);
    const crl = publisherOf(options, { path: path(`issuing${mark}.crl`), fields, issuer: each.issuer });
    return { serialNumber, mark, issuer: fields, signer, crl };
  };
  const others = former.map((each) => make(each, `-${each.certificate.serialNumber}`));
  return [await make({ certificate, issuer }, ""), ...(await Promise.all(others))];
}

function fieldsOf({ x509 }: Certificate): CertificateFields {
  const fields = decodeCertificateFields(x509.raw);
  if (fields.kind === "malformed") throw new Error(`our authority cannot be read: ${fields.reason}`);
  return fields.value;
}

function publisherOf(
  { configuration, clock, installation }: RevocationOptions,
  { path, fields, issuer }: { path: string; fields: CertificateFields; issuer: Issuer },
): CrlPublisher {
  const { registry } = installation();
  return new CrlPublisher({
    path,
    clock,
    issuer: fields,
    key: issuer.key,
    url: statusUrls(configuration)?.(fields.serialNumber).crl,
    revocations: (nowMs) => revocationsOf(registry, nowMs),
  });
}

function readRootCrl({ pki, clock, installation }: RevocationOptions): StatusFile | undefined {
  const pem = obtainRootCrl(pki, installation().authority, clock.wallMs());
  const [bytes] = pem === undefined ? [] : fromPem(crlPemLabel, pem);
  const crl = bytes === undefined ? undefined : decodeCrl(bytes);
  if (bytes === undefined || crl?.kind !== "value") return undefined;
  const { thisUpdateMs, nextUpdateMs = thisUpdateMs } = crl.value;
  return { bytes, fromMs: thisUpdateMs, untilMs: nextUpdateMs };
}
