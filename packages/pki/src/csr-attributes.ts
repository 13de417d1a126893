import { objectIdentifier, sequence, setOf } from "./der/writer.ts";

const ecPublicKeyOid = "1.2.840.10045.2.1";
const p256Oid = "1.2.840.10045.3.1.7";
const ecdsaWithSha256Oid = "1.2.840.10045.4.3.2";

/**
 * What a request should have, as an EST server tells it (CsrAttrs, DER): a P-256 key and a signature with SHA-256. Other keys are taken
 * too; names are given in any case. @see RFC 7030 §4.5.2, RFC 9908 §3.2
 */
export function encodeCsrAttributes(): Buffer {
  return sequence(
    sequence(objectIdentifier(ecPublicKeyOid), setOf(objectIdentifier(p256Oid))),
    objectIdentifier(ecdsaWithSha256Oid),
  );
}
