import { join } from "node:path";

import { decodeCertificateFields } from "@postern/pki/certificate-fields";
import { decodeCrl } from "@postern/pki/crl/decode";
import { crlPemLabel, encodeCrl } from "@postern/pki/crl/encode";
import { verifyCrl } from "@postern/pki/crl/verify";
import { toPem } from "@postern/pki/pem";

import { keyFits, type Authority } from "../authority.ts";
import { readSecretIfThere, readTextIfThere, replacePrivateFile } from "../files.ts";

/** The root's key is away most of the time: its CRL must last until somebody brings it again. */
const lifeMs = 365 * 86_400_000;

/**
 * The root's own CRL (PEM), which says that the issuing authority is not revoked: checkers that want one for every authority
 * refuse all devices without it. Made when the root's key is on this machine and the last one is half over; otherwise the last one.
 * @returns `undefined` when there is none, or none that is still good.
 */
export function obtainRootCrl(
  pki: string,
  { root }: Pick<Authority, "root">,
  nowMs: number,
): string | undefined {
  const path = join(pki, "root.crl");
  const fields = decodeCertificateFields(root.x509.raw);
  if (fields.kind === "malformed") throw new Error(`our root cannot be read: ${fields.reason}`);
  const issuer = fields.value;
  const text = readTextIfThere(path);
  const present = text === undefined ? undefined : decodeCrl(Buffer.from(text));
  const isGood =
    present?.kind === "value" && verifyCrl({ crl: present.value, issuer, nowMs }).kind === "valid";
  const last = isGood ? present.value : undefined;
  if (last !== undefined && nowMs < last.thisUpdateMs + lifeMs / 2) return text;
  const key = readSecretIfThere(join(pki, "root.key"));
  if (key === undefined || !keyFits(root, key)) return last === undefined ? undefined : text;
  const der = encodeCrl({
    issuer,
    key,
    number: Math.max(Number.parseInt(last?.number ?? "0", 16) + 1, Math.floor(nowMs / 1_000)),
    thisUpdateMs: nowMs,
    nextUpdateMs: Math.min(nowMs + lifeMs, root.notAfterMs),
    revocations: [],
  });
  const pem = toPem(crlPemLabel, der);
  replacePrivateFile(path, pem);
  return pem;
}
