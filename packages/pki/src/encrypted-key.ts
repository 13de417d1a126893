import { createCipheriv, randomBytes, scryptSync } from "node:crypto";

import { integer, objectIdentifier, octetString, sequence } from "./der/writer.ts";
import { toPem } from "./pem.ts";

const pbes2Oid = "1.2.840.113549.1.5.13";
const scryptOid = "1.3.6.1.4.1.11591.4.11";
const aes256CbcOid = "2.16.840.1.101.3.4.1.42";

/** One of OWASP's choices; 16 MB, which is within what openssl allows a file to ask for. */
const scrypt = { N: 16_384, r: 8, p: 5 } as const;
const keyBytes = 32;
const saltBytes = 16;
const ivBytes = 16;

/**
 * A private key (DER, PKCS #8), encrypted with a passphrase so that guessing it is slow: what `openssl pkcs8 -topk8 -scrypt` writes, and
 * node:crypto and openssl read. PEM. @see RFC 5958 §3, RFC 8018 §6.2, RFC 7914 §7
 */
export function encryptPrivateKey(der: Uint8Array, passphrase: string): string {
  const salt = randomBytes(saltBytes);
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv("aes-256-cbc", scryptSync(passphrase, salt, keyBytes, scrypt), iv);
  const encrypted = Buffer.concat([cipher.update(der), cipher.final()]);
  const derivation = sequence(
    objectIdentifier(scryptOid),
    sequence(octetString(salt), integer(scrypt.N), integer(scrypt.r), integer(scrypt.p)),
  );
  const encryption = sequence(objectIdentifier(aes256CbcOid), octetString(iv));
  const algorithm = sequence(objectIdentifier(pbes2Oid), sequence(derivation, encryption));
  return toPem("ENCRYPTED PRIVATE KEY", sequence(algorithm, octetString(encrypted)));
}
