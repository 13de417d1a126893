import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { join } from "node:path";

import { decryptionKey, type DecryptionKey } from "@postern/seal/keys/recipient";

import type { Authority } from "../authority.ts";
import { PkiFileError } from "../errors.ts";
import { readSecretIfThere, readTextIfThere, replacePrivateFile } from "../files.ts";

const privateName = "broker.key";
const publicName = "broker-key.json";

/** What is signed begins so, so that the signature says nothing about anything else. */
export const brokerKeyContext = "postern broker key 1\n";

/** The server's own key pair (X25519): what devices without TLS encrypt to it is opened with it. */
export interface BrokerKey {
  readonly decryption: DecryptionKey;
  /** SubjectPublicKeyInfo, DER, in base64: as bundles have it. */
  readonly publicKey: string;
}

/**
 * Reads the key of the directory `pki`, or makes it at the first start; writes what is to be published for devices without a bundle,
 * signed by the issuing authority. @throws {PkiFileError}, {DataDirectoryError}
 */
export function openBrokerKey(pki: string, { issuer }: Pick<Authority, "issuer">): BrokerKey {
  const path = join(pki, privateName);
  const text = readSecretIfThere(path) ?? createKey(path);
  const key = parseKey(path, text);
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  const publicKey = spki.toString("base64");
  const published = join(pki, publicName);
  const known = readTextIfThere(published);
  // Signatures differ each time: what is good is left as it is.
  if (
    known?.includes(JSON.stringify(publicKey)) !== true ||
    !known.includes(JSON.stringify(issuer.certificate))
  )
    replacePrivateFile(published, formatPublished(spki, issuer));
  return { decryption: decryptionKey(key), publicKey };
}

/** The public key as bundles have it; `undefined` before the first start. @throws {PkiFileError} */
export function readBrokerPublicKey(pki: string): string | undefined {
  const path = join(pki, privateName);
  const text = readSecretIfThere(path);
  if (text === undefined) return undefined;
  return createPublicKey(parseKey(path, text)).export({ format: "der", type: "spki" }).toString("base64");
}

function createKey(path: string): string {
  const { privateKey } = generateKeyPairSync("x25519");
  const text = privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  replacePrivateFile(path, text);
  return text;
}

function parseKey(path: string, text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch {
    // OpenSSL's message may quote what it read.
    throw new PkiFileError(`${path} is damaged: put it back from a backup, or remove it for a new key`);
  }
}

/** Whoever trusts the authority can check it: `openssl dgst -sha256 -verify` over the context and the DER of the key. */
function formatPublished(spki: Buffer, { certificate, key }: Authority["issuer"]): string {
  const signed = Buffer.concat([Buffer.from(brokerKeyContext), spki]);
  const document = {
    postern: 1,
    brokerKey: spki.toString("base64"),
    signature: sign("sha256", signed, key).toString("base64"),
    /** Of the one who signed; leads to the root. */
    certificate,
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}
