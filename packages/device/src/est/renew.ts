import { readFileSync } from "node:fs";

import { formatBundle, hasCertificate, parseBundle, type Bundle } from "@postern/core/bundle";
import { decodeCertificate, deviceOf, renewalDueMs, type Certificate } from "@postern/pki/certificate";
import { createRequest } from "@postern/pki/csr-create";

import { ConnectionError, NotRenewableError } from "../errors.ts";
import { renewalSettings, type KnockSettings } from "../knock.ts";
import { replacePrivateFile } from "../private-file.ts";
import { fetchPlaces } from "./device-places.ts";
import { askEst, certificatesOf, granted, notAnEstUrl, parseEstUrl, type EstPlace } from "./est-client.ts";
import { checkIssued, fetchAuthorities } from "./issued.ts";
import { keyPem, newKeyLike } from "./keys.ts";
import { trustPem } from "./trust.ts";

/** A bundle whose certificate can be renewed, as its file holds it. */
export interface Renewable {
  /** The text of the file, to see whether somebody else changed it. */
  readonly text: string;
  readonly bundle: Bundle & { readonly certificate: string; readonly key: string };
  readonly certificate: Certificate;
  /** Where to renew, the preferred address first. */
  readonly places: readonly EstPlace[];
  /** How to knock there first; `undefined` where it is not hidden. */
  readonly knock: KnockSettings | undefined;
  /** When two thirds of the certificate's life are over, wall clock ms. */
  readonly dueMs: number;
}

/** Reads a bundle's file. `name` is how the user calls it. @throws {NotRenewableError} when it cannot be renewed, {BundleError}. */
export function readRenewable(path: string, name: string, url?: string): Renewable {
  const text = readFileSync(path, "utf8");
  const bundle = parseBundle(text, name);
  const certificate = bundle.certificate === undefined ? undefined : decodeCertificate(bundle.certificate);
  if (certificate === undefined || !hasCertificate(bundle))
    throw new NotRenewableError(`${name} holds no certificate with its key, so there is nothing to renew`);
  const urls = url === undefined ? (bundle.est ?? []).map((place) => place.url) : [url];
  if (urls.length === 0)
    throw new NotRenewableError(
      `${name} does not say where to renew: name the enrolment server with --url https://host:port`,
    );
  const knock = renewalSettings(bundle, path);
  const places = urls.map((asked) => {
    const place = parseEstUrl(asked);
    if (place === undefined) throw new NotRenewableError(notAnEstUrl(asked));
    return place;
  });
  return { text, bundle, certificate, places, knock, dueMs: renewalDueMs(certificate) };
}

/** What became of a renewal; `otherwise` when another process renewed the same file meanwhile. */
export type Renewal =
  | { readonly kind: "renewed"; readonly certificate: Certificate }
  | { readonly kind: "otherwise" };

async function renewAt(found: EstPlace, path: string, renewable: Renewable, nowMs: number): Promise<Renewal> {
  const { bundle, certificate, text } = renewable;
  const place = { ...found, knock: renewable.knock };
  const authorities = await fetchAuthorities(place, trustPem(bundle.ca, "the bundle"));
  const key = newKeyLike(bundle.key);
  const named = deviceOf(certificate);
  const request = createRequest({ key, device: bundle.device, ...(named && { tenant: named.tenant }) });
  const answer = await askEst(
    place,
    { ca: bundle.ca, cert: bundle.certificate, key: bundle.key },
    { method: "POST", path: "/.well-known/est/simplereenroll", body: request.toString("base64") },
  );
  const certificates = certificatesOf(
    granted(answer, place, `to renew the certificate of "${bundle.device}"`),
    place,
  );
  const issued = checkIssued(certificates, { key, device: bundle.device, authorities, nowMs });
  const pem = keyPem(key);
  // The old one stays in its place until the new one has let us in.
  const told = await fetchPlaces(place, { ca: bundle.ca, cert: issued.chain, key: pem });
  if (readFileSync(path, "utf8") !== text) return { kind: "otherwise" };
  const { servers, est, knock, brokerKey } = { ...bundle, ...told };
  replacePrivateFile(
    path,
    formatBundle({ ...bundle, servers, est, knock, brokerKey, certificate: issued.chain, key: pem }),
  );
  return { kind: "renewed", certificate: issued.leaf };
}

/**
 * Gets a new certificate for a new key, tries it, and puts both in the place of the old ones in one step. When anything fails, the file is
 * as it was.
 * @throws {ConnectionError}, {EnrolmentRefusedError}, {EnrolmentAnswerError}, {DeviceFileError}
 */
export async function renewBundle(path: string, renewable: Renewable, nowMs: number): Promise<Renewal> {
  let first: ConnectionError | undefined;
  for (const place of renewable.places) {
    try {
      return await renewAt(place, path, renewable, nowMs);
    } catch (thrown) {
      if (!(thrown instanceof ConnectionError)) throw thrown;
      first ??= thrown;
    }
  }
  throw first ?? new Error("a renewal without a place");
}
