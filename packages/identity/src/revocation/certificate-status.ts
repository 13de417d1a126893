import type { CertificateStatus } from "@postern/pki/ocsp/encode-response";
import { RevocationReason, type Revocation } from "@postern/pki/revocation";

import type { Device, DeviceCertificate } from "../device.ts";
import type { DeviceRegistry } from "../registry.ts";

/** A revocation is listed until its certificate has been over for a day: clocks differ. @see RFC 5280 §3.3 */
const listedBeyondEndMs = 86_400_000;

/** What the revocation services ask of the registry. */
export type StatusSource = Pick<DeviceRegistry, "all" | "findBySerialNumber">;

/** Since when and why a certificate is not good any more; `undefined` while it is. */
function revocationOf(
  device: Device,
  { serialNumber, revoked, ends }: DeviceCertificate,
  nowMs: number,
): Revocation | undefined {
  const withdrawn = revoked ?? device.revoked;
  if (withdrawn !== undefined)
    return {
      serialNumber,
      revokedAtMs: Date.parse(withdrawn.at),
      reason: RevocationReason[withdrawn.reason],
    };
  if (device.removed !== undefined) {
    const reason = RevocationReason.cessationOfOperation;
    return { serialNumber, revokedAtMs: Date.parse(device.removed), reason };
  }
  if (ends === undefined || Date.parse(ends) > nowMs) return undefined;
  return { serialNumber, revokedAtMs: Date.parse(ends), reason: RevocationReason.superseded };
}

/** What stands in the CRL: every certificate of a device that is revoked, removed or has another one now. */
export function* revocationsOf(
  registry: Pick<StatusSource, "all">,
  nowMs: number,
): IterableIterator<Revocation> {
  for (const device of registry.all()) {
    for (const certificate of device.certificates) {
      if (Date.parse(certificate.notAfter) + listedBeyondEndMs < nowMs) continue;
      const revocation = revocationOf(device, certificate, nowMs);
      if (revocation !== undefined) yield revocation;
    }
  }
}

/** The status of the certificate with this serial number (upper-case hexadecimal), as OCSP says it. */
export function statusOf(
  registry: Pick<StatusSource, "findBySerialNumber">,
  serialNumber: string,
  nowMs: number,
): CertificateStatus {
  const known = registry.findBySerialNumber(serialNumber);
  if (known === undefined) return { kind: "unknown" };
  const revocation = revocationOf(known.device, known.certificate, nowMs);
  return revocation === undefined ? { kind: "good" } : { kind: "revoked", ...revocation };
}
