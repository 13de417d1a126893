import type { Certificate } from "@postern/pki/certificate";
import { keyIdOf } from "@postern/pki/public-key";

import type { Device } from "./device.ts";

/** `device` with one more certificate, without those that have ended. */
export function withCertificate(device: Device, certificate: Certificate, nowMs: number): Device {
  const { fingerprint, serialNumber, notAfterMs, x509 } = certificate;
  const running = device.certificates.filter(({ notAfter }) => Date.parse(notAfter) >= nowMs);
  const keyId = keyIdOf(x509.publicKey.export({ format: "der", type: "spki" }));
  const entry = { fingerprint, serialNumber, notAfter: new Date(notAfterMs).toISOString(), keyId };
  return { ...device, certificates: [...running, entry] };
}
