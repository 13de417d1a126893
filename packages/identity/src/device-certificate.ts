import type { Certificate } from "@postern/pki/certificate";
import { keyIdOf } from "@postern/pki/public-key";

import type { Device } from "./device.ts";

/** `device` with one more certificate, without those that have ended. */
export function withCertificate(device: Device, certificate: Certificate, nowMs: number): Device {
  const { fingerprint, serialNumber, notAfterMs } = certificate;
  const running = device.certificates.filter(({ notAfter }) => Date.parse(notAfter) >= nowMs);
  const entry = {
    fingerprint,
    serialNumber,
    notAfter: new Date(notAfterMs).toISOString(),
    ...keyOf(certificate),
  };
  return { ...device, certificates: [...running, entry] };
}

/** `device` with the public key of a certificate that an earlier version registered without it. */
export function withPublicKey(device: Device, certificate: Certificate): Device {
  const certificates = device.certificates.map((entry) =>
    entry.fingerprint === certificate.fingerprint ? { ...entry, ...keyOf(certificate) } : entry,
  );
  return { ...device, certificates };
}

function keyOf({ x509 }: Certificate): { readonly keyId: string; readonly publicKey: string } {
  const spki = x509.publicKey.export({ format: "der", type: "spki" });
  return { keyId: keyIdOf(spki), publicKey: spki.toString("base64") };
}
