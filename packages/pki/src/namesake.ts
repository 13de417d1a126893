import { generateKeyPairSync, randomBytes } from "node:crypto";

import { decodeCertificateFields, ExtensionId } from "./certificate-fields.ts";
import type { Certificate } from "./certificate.ts";
import {
  bitString,
  boolean,
  explicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  serialNumber,
  time,
} from "./der/writer.ts";
import { toPem } from "./pem.ts";
import { sign, signatureAlgorithm } from "./signature.ts";

/**
 * A certificate (PEM) that has the name of `authority` and nothing else of it: its key is thrown away, so it verifies nothing.
 * A TLS server tells clients the names of the authorities it was given, by which they choose a certificate; given the
 * real ones it would verify the client's chain by itself, and Node then does not show what the client sent beside its certificate.
 * @throws {TypeError} when `authority` cannot be read.
 */
export function namesakeOf(authority: Certificate): string {
  const decoded = decodeCertificateFields(authority.x509.raw);
  if (decoded.kind === "malformed") throw new TypeError(`the authority cannot be read: ${decoded.reason}`);
  const { subject, notBeforeMs, notAfterMs } = decoded.value;
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = signatureAlgorithm(privateKey);
  const isAuthority = octetString(sequence(boolean(true)));
  const signed = sequence(
    explicit(0, integer(2)),
    serialNumber(`40${randomBytes(15).toString("hex")}`),
    algorithm,
    subject,
    sequence(time(notBeforeMs), time(notAfterMs)),
    subject,
    publicKey.export({ format: "der", type: "spki" }),
    explicit(
      3,
      sequence(sequence(objectIdentifier(ExtensionId.basicConstraints), boolean(true), isAuthority)),
    ),
  );
  return toPem("CERTIFICATE", sequence(signed, algorithm, bitString(sign(privateKey, signed))));
}
