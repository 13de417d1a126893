import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";

import { errorText } from "@postern/core/errors";
import type { CrlSource, TrustAnchor } from "@postern/identity/foreign/trust-anchor";
import { decodeCertificate, splitPem } from "@postern/pki/certificate";
import { namesakeOf } from "@postern/pki/namesake";

import { ConfigError } from "../../config/errors.ts";
import { isUrl, type TrustAnchorConfiguration } from "../../config/trust-anchors.ts";

/** An anchor file is for a few authorities. */
const fileBytesMax = 1_048_576;
const certificatesMax = 64;
/** A CRL of 200,000 entries; a file may be larger than what is fetched. */
const crlFileBytesMax = 33_554_432;

/** A file as it was when it was last read: another one has another stamp. */
function stampOf(path: string, bytesMax: number): string {
  const { size, mtimeMs, ino } = statSync(path);
  if (size > bytesMax) throw new Error(`it has ${size} bytes, more than ${bytesMax}`);
  return `${size} ${mtimeMs} ${ino}`;
}

interface Loaded {
  readonly stamp: string;
  readonly anchor: TrustAnchor;
  /** @see namesakeOf */
  readonly namesakes: readonly string[];
}

/** The trust anchors of the configuration: read at the start, and again when their files change. */
export class TrustAnchorFiles {
  readonly #configurations: readonly TrustAnchorConfiguration[];
  readonly #directory: string;
  #loaded: readonly Loaded[];
  readonly #crlStamps = new Map<string, string>();

  /** `directory` is where the configuration's file names begin. @throws {ConfigError} for a file that cannot be used. */
  constructor(configurations: readonly TrustAnchorConfiguration[], directory: string, file: string) {
    this.#configurations = configurations;
    this.#directory = directory;
    this.#loaded = configurations.map((configuration, index) => {
      try {
        return this.#load(configuration);
      } catch (thrown) {
        throw new ConfigError(
          `${configuration.file} cannot be used as a trust anchor: ${errorText(thrown)}`,
          { file, key: `trustAnchors[${index}].file` },
          { cause: thrown },
        );
      }
    });
  }

  get anchors(): readonly TrustAnchor[] {
    return this.#loaded.map(({ anchor }) => anchor);
  }

  /** Certificates (PEM) of their names alone, for the list of authorities that a TLS server sends. */
  get namesakes(): readonly string[] {
    return this.#loaded.flatMap(({ namesakes }) => namesakes);
  }

  /** Reads what has changed; `onFailure` is told of a file that cannot be used, whose last good content stays. @returns whether an anchor is another now. */
  reload(onFailure: (file: string, reason: string) => void): boolean {
    let changed = false;
    this.#loaded = this.#loaded.map((last, index) => {
      const configuration = this.#configurations[index];
      if (configuration === undefined) return last;
      try {
        if (stampOf(this.#path(configuration.file), fileBytesMax) === last.stamp) return last;
        const loaded = this.#load(configuration);
        changed = true;
        return loaded;
      } catch (thrown) {
        onFailure(configuration.file, errorText(thrown));
        return last;
      }
    });
    return changed;
  }

  /** @see StatusSources.readIfChanged */
  readCrlIfChanged(path: string): Uint8Array | undefined {
    const stamp = stampOf(path, crlFileBytesMax);
    if (this.#crlStamps.get(path) === stamp) return undefined;
    const bytes = readFileSync(path);
    this.#crlStamps.set(path, stamp);
    return bytes;
  }

  #path(file: string): string {
    return resolve(this.#directory, file);
  }

  #load(configuration: TrustAnchorConfiguration): Loaded {
    const { file, tenant, revocation, crls, ocsp, nonce, refreshSeconds } = configuration;
    const path = this.#path(file);
    const stamp = stampOf(path, fileBytesMax);
    const parts = splitPem(readFileSync(path, "utf8"));
    if (parts.length === 0) throw new Error("it holds no certificate in PEM");
    if (parts.length > certificatesMax) throw new Error(`it holds more than ${certificatesMax} certificates`);
    const certificates = parts.map((pem, index) => {
      const certificate = decodeCertificate(pem);
      if (certificate === undefined) throw new Error(`certificate ${index + 1} in it cannot be read`);
      if (!certificate.authority)
        throw new Error(
          `certificate ${index + 1} in it (${certificate.x509.subject.replaceAll("\n", ", ")}) is not an authority's`,
        );
      return certificate;
    });
    const sources = crls.map((source): CrlSource =>
      isUrl(source)
        ? { kind: "url", url: source, configured: true }
        : { kind: "file", path: this.#path(source) },
    );
    const anchor: TrustAnchor = {
      name: file,
      certificates,
      tenant,
      policy: revocation,
      crls: sources,
      ocspUrl: ocsp,
      nonceRequired: nonce === "require",
      refreshMs: refreshSeconds * 1_000,
    };
    return { stamp, anchor, namesakes: certificates.map(namesakeOf) };
  }
}
