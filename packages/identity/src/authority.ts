import { createPrivateKey, randomBytes } from "node:crypto";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { decodeCertificate, type Certificate } from "@postern/pki/certificate";
import type { Issuer, StatusUrls } from "@postern/pki/issue";

import { ClockError, PkiFileError } from "./errors.ts";
import {
  attempt,
  makePrivateDirectory,
  moveIntoPlace,
  readSecretIfThere,
  readTextIfThere,
  replacePrivateFile,
  writePrivateFile,
} from "./files.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Certificates are valid from a little before they are made, for devices whose clocks are slow. */
export const backdatedMs = hourMs;

export const authorityDays = 3_650;

/** A clock that shows an earlier time was never set. */
const clockSetMs = Date.UTC(2025, 0, 1);

/** Where the status of what an issuing authority signed can be asked for, by the serial number of its certificate. */
export type StatusUrlsOf = (serialNumber: string) => StatusUrls;

/** An issuing authority with its key. */
export interface IssuingAuthority {
  readonly certificate: Certificate;
  readonly issuer: Issuer;
}

/** The certificate authority of one installation. */
export interface Authority {
  readonly root: Certificate;
  readonly issuing: Certificate;
  /** Those that issue devices' certificates, or did before and are still good: the present one first. */
  readonly issuers: readonly Certificate[];
  /** PEM: what clients trust. */
  readonly rootPem: string;
  /** Signs servers and devices. */
  readonly issuer: Issuer;
  /** Those before the present one that are still good. They sign nothing but which of their certificates are revoked. */
  readonly former: readonly IssuingAuthority[];
}

function isoSecond(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** @throws {ClockError} when the clock was never set. */
export function checkClock(nowMs: number): void {
  if (nowMs >= clockSetMs) return;
  throw new ClockError(
    `the clock of this machine shows ${isoSecond(nowMs)}, which cannot be: set it (for example with timedatectl set-ntp true) and start again`,
  );
}

/**
 * Makes a root and an issuing authority in a new directory that takes its place in one step: after a crash there is
 * all of it or nothing. `more` are files to go along.
 */
export async function createAuthority(
  pki: string,
  nowMs: number,
  more: readonly (readonly [name: string, text: string])[],
): Promise<void> {
  const { issueIntermediate, issueRoot } = await import("@postern/pki/issue");
  const validity = { notBeforeMs: nowMs - backdatedMs, notAfterMs: nowMs + authorityDays * dayMs };
  // Two installations must not have authorities of the same name: a client that trusts both would mix them up.
  const mark = randomBytes(4).toString("hex");
  const root = await issueRoot({ commonName: `Postern root ${mark}`, validity });
  const issuing = await issueIntermediate({ commonName: `Postern issuing ${mark}`, validity, issuer: root });
  const files: readonly (readonly [string, string])[] = [
    ["root.crt", root.certificate],
    ["root.key", root.key],
    ["issuing.crt", issuing.certificate],
    ["issuing.key", issuing.key],
    ...more,
  ];
  const temporary = `${pki}.tmp`;
  attempt(`write ${pki}`, () => rmSync(temporary, { recursive: true, force: true }));
  makePrivateDirectory(temporary);
  for (const [name, text] of files) writePrivateFile(join(temporary, name), text);
  moveIntoPlace(temporary, pki);
}

/** A new issuing authority that is about to take its place: key and certificate. */
export const nextIssuingName = "issuing.next";

/** The file of an issuing authority that was replaced, or of its key. */
export function formerIssuingName({ serialNumber }: Certificate, kind: "crt" | "key"): string {
  return `issuing-${serialNumber}.${kind}`;
}

/** Completes the renewal of the issuing authority, if one was begun. */
export function finishIssuingRenewal(pki: string): void {
  const path = join(pki, nextIssuingName);
  const text = readSecretIfThere(path);
  if (text === undefined) return;
  const at = text.indexOf("-----BEGIN CERTIFICATE-----");
  replacePrivateFile(join(pki, "issuing.key"), text.slice(0, at));
  replacePrivateFile(join(pki, "issuing.crt"), text.slice(at));
  attempt(`remove ${path}`, () => rmSync(path));
}

interface Former {
  readonly certificate: Certificate;
  /** `undefined` where its key was not kept. */
  readonly issuer: Issuer | undefined;
}

/** The issuing authorities before the present one that are still valid. */
function loadFormerIssuing(pki: string, root: Certificate, nowMs: number, urls?: StatusUrlsOf): Former[] {
  const names = attempt(`read the directory ${pki}`, () => readdirSync(pki));
  return names
    .filter((name) => /^issuing-[0-9A-F]+\.crt$/.test(name))
    .map((name) => loadCertificate(join(pki, name)))
    .filter(({ certificate: { x509 } }) => x509.checkIssued(root.x509) && x509.verify(root.x509.publicKey))
    .filter(({ certificate: { notAfterMs } }) => nowMs <= notAfterMs)
    .map(({ certificate, pem }) => {
      const path = join(pki, formerIssuingName(certificate, "key"));
      const key = readSecretIfThere(path);
      if (key === undefined) return { certificate, issuer: undefined };
      if (!keyFits(certificate, key))
        throw new PkiFileError(`${path} is damaged or not the key of the certificate beside it: ${restore}`);
      return { certificate, issuer: { certificate: pem, key, urls: urls?.(certificate.serialNumber) } };
    });
}

/** Whether an authority was made already; an empty directory is as good as none. */
export function hasAuthority(pki: string): boolean {
  return existsSync(pki) && attempt(`read the directory ${pki}`, () => readdirSync(pki)).length > 0;
}

export const restore =
  "put it back from a backup (removing the pki directory makes a new authority, and every device then needs a new bundle)";

function loadCertificate(path: string): { readonly pem: string; readonly certificate: Certificate } {
  const pem = readTextIfThere(path);
  if (pem === undefined)
    throw new PkiFileError(`${path}, a certificate of the authority, is missing: ${restore}`);
  const certificate = decodeCertificate(pem);
  if (certificate === undefined)
    throw new PkiFileError(`${path} is damaged (no certificate in it): ${restore}`);
  return { pem, certificate };
}

/** Whether `key` (PEM) is the private key of `certificate`. */
export function keyFits(certificate: Certificate, key: string): boolean {
  try {
    return certificate.x509.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/**
 * Reads the authority. The root's key is not read and need not be there. `urls` go into all certificates that it issues.
 * @throws {PkiFileError} when a file is missing, damaged or open to others; {@link ClockError} when the clock says that the
 * authority is not yet or no longer valid.
 */
export function loadAuthority(pki: string, nowMs: number, urls?: StatusUrlsOf): Authority {
  finishIssuingRenewal(pki);
  const root = loadCertificate(join(pki, "root.crt"));
  const issuing = loadCertificate(join(pki, "issuing.crt"));
  const keyPath = join(pki, "issuing.key");
  const key = readSecretIfThere(keyPath);
  // It signs nothing any more once the root is in use, but it would sign anything for whoever reads it.
  readSecretIfThere(join(pki, "root.key"));
  if (key === undefined)
    throw new PkiFileError(`${keyPath}, the key of the certificate authority, is missing: ${restore}`);
  if (!keyFits(issuing.certificate, key)) {
    throw new PkiFileError(`${keyPath} is damaged or not the key of issuing.crt beside it: ${restore}`);
  }
  const { x509 } = issuing.certificate;
  if (!x509.checkIssued(root.certificate.x509) || !x509.verify(root.certificate.x509.publicKey)) {
    throw new PkiFileError(`${join(pki, "issuing.crt")} was not issued by root.crt beside it: ${restore}`);
  }
  for (const { notBeforeMs, notAfterMs } of [root.certificate, issuing.certificate]) {
    if (nowMs < notBeforeMs) {
      throw new ClockError(
        `the clock of this machine shows ${isoSecond(nowMs)}, before this server's certificate authority was made (${isoSecond(notBeforeMs)}): set the clock and start again, or, if it was wrong then, remove ${pki} to make a new authority`,
      );
    }
    if (nowMs > notAfterMs) {
      throw new ClockError(
        `the certificate authority in ${pki} expired at ${isoSecond(notAfterMs)} and the clock of this machine shows ${isoSecond(nowMs)}: set the clock, or remove ${pki} to make a new authority (every device then needs a new bundle)`,
      );
    }
  }
  const former = loadFormerIssuing(pki, root.certificate, nowMs, urls);
  return {
    root: root.certificate,
    issuing: issuing.certificate,
    issuers: [issuing.certificate, ...former.map(({ certificate }) => certificate)],
    rootPem: root.pem,
    issuer: { certificate: issuing.pem, key, urls: urls?.(issuing.certificate.serialNumber) },
    former: former.flatMap(({ certificate, issuer }) =>
      issuer === undefined ? [] : [{ certificate, issuer }],
    ),
  };
}
