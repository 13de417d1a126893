import { readdirSync } from "node:fs";
import { join } from "node:path";

import { decodeCertificateFields, type CertificateFields } from "@postern/pki/certificate-fields";
import { decodeCrl, type Crl } from "@postern/pki/crl/decode";
import { crlPemLabel, encodeCrl } from "@postern/pki/crl/encode";
import { verifyCrl } from "@postern/pki/crl/verify";
import { toPem } from "@postern/pki/pem";
import { RevocationReason, type Revocation } from "@postern/pki/revocation";

import { keyFits, type Authority } from "../authority.ts";
import { PkiFileError } from "../errors.ts";
import { attempt, readSecretIfThere, readTextIfThere, replacePrivateFile } from "../files.ts";

/** The root's key is away most of the time: its CRL must last until somebody brings it again. */
const lifeMs = 365 * 86_400_000;

const distrustedFile = /^distrusted-([0-9A-F]+)\.crt$/;

/** Remembers that an issuing authority is trusted no more, for the root's CRL. */
export function rememberDistrusted(pki: string, { issuing, issuer }: Authority, nowMs: number): void {
  const path = join(pki, `distrusted-${issuing.serialNumber}.crt`);
  replacePrivateFile(path, `${new Date(nowMs).toISOString()}\n${issuer.certificate}`);
}

/** The issuing authorities that are trusted no more, and since when. @throws {PkiFileError} */
function distrusted(pki: string): Revocation[] {
  const names = attempt(`read the directory ${pki}`, () => readdirSync(pki));
  return names.flatMap((name) => {
    const serialNumber = distrustedFile.exec(name)?.[1];
    if (serialNumber === undefined) return [];
    const [time = ""] = (readTextIfThere(join(pki, name)) ?? "").split("\n", 1);
    const revokedAtMs = Date.parse(time);
    if (Number.isNaN(revokedAtMs))
      throw new PkiFileError(
        `${join(pki, name)} is damaged (no time in its first line): put it back from a backup`,
      );
    return [{ serialNumber, revokedAtMs, reason: RevocationReason.cACompromise }];
  });
}

/** The root as its certificate describes it. */
function rootIssuer({ root }: Pick<Authority, "root">): CertificateFields {
  const fields = decodeCertificateFields(root.x509.raw);
  if (fields.kind === "malformed") throw new Error(`our root cannot be read: ${fields.reason}`);
  return fields.value;
}

/** The CRL that is there, if it is still good. */
function presentCrl(
  pki: string,
  issuer: CertificateFields,
  nowMs: number,
): { text: string; crl: Crl } | undefined {
  const text = readTextIfThere(join(pki, "root.crl"));
  const present = text === undefined ? undefined : decodeCrl(Buffer.from(text));
  if (text === undefined || present?.kind !== "value") return undefined;
  return verifyCrl({ crl: present.value, issuer, nowMs }).kind === "valid"
    ? { text, crl: present.value }
    : undefined;
}

/** Makes the root's CRL anew (PEM), with the root's key (PEM). */
export function renewRootCrl(
  pki: string,
  authority: Pick<Authority, "root">,
  key: string,
  nowMs: number,
): string {
  const issuer = rootIssuer(authority);
  const last = presentCrl(pki, issuer, nowMs);
  const der = encodeCrl({
    issuer,
    key,
    number: Math.max(Number.parseInt(last?.crl.number ?? "0", 16) + 1, Math.floor(nowMs / 1_000)),
    thisUpdateMs: nowMs,
    nextUpdateMs: Math.min(nowMs + lifeMs, authority.root.notAfterMs),
    revocations: distrusted(pki),
  });
  const pem = toPem(crlPemLabel, der);
  replacePrivateFile(join(pki, "root.crl"), pem);
  return pem;
}

/**
 * The root's own CRL (PEM), which says which issuing authority is revoked: checkers that want one for every authority
 * refuse all devices without it. Made when the root's key is on this machine and the last one is half over or lacks an entry; otherwise
 * the last one.
 * @returns `undefined` when there is none, or none that is still good.
 */
export function obtainRootCrl(
  pki: string,
  authority: Pick<Authority, "root">,
  nowMs: number,
): string | undefined {
  const last = presentCrl(pki, rootIssuer(authority), nowMs);
  const isComplete = distrusted(pki).every(({ serialNumber }) => last?.crl.find(serialNumber) !== undefined);
  if (last !== undefined && isComplete && nowMs < last.crl.thisUpdateMs + lifeMs / 2) return last.text;
  const key = readSecretIfThere(join(pki, "root.key"));
  if (key === undefined || !keyFits(authority.root, key)) return last?.text;
  return renewRootCrl(pki, authority, key, nowMs);
}
