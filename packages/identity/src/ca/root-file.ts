import { createPrivateKey, type KeyObject } from "node:crypto";
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";

import { decodeCertificate, type Certificate } from "@postern/pki/certificate";
import { encryptPrivateKey } from "@postern/pki/encrypted-key";
import { fromPem } from "@postern/pki/pem";

import { keyFits, type Authority } from "../authority.ts";
import { RootKeyError } from "../errors.ts";
import { attempt, readSecretIfThere, readTextIfThere, writePrivateFile, syncDirectory } from "../files.ts";

/** What is shorter is on somebody's list; a root is worth a sentence. */
const passphraseCharactersMin = 12;

/** A root authority with its key. */
export interface RootKey {
  readonly certificate: Certificate;
  readonly certificatePem: string;
  readonly key: KeyObject;
}

function rootKeyPath(pki: string): string {
  return join(pki, "root.key");
}

/** Whether the root's key is on this machine. */
export function hasRootKey(pki: string): boolean {
  return readSecretIfThere(rootKeyPath(pki)) !== undefined;
}

/** The root's key on this machine. @throws {RootKeyError} when it is not there, or not the root's. */
export function readRootKey(pki: string, { root, rootPem }: Authority): RootKey {
  const path = rootKeyPath(pki);
  const text = readSecretIfThere(path);
  if (text === undefined)
    throw new RootKeyError(`the root's key is not on this machine: name the file it was exported to`);
  if (!keyFits(root, text)) throw new RootKeyError(`${path} is damaged or not the key of root.crt beside it`);
  return { certificate: root, certificatePem: rootPem, key: createPrivateKey(text) };
}

/**
 * Reads a file that `exportRoot` wrote: the certificate and the encrypted key.
 * @throws {RootKeyError} when it is none, the passphrase is wrong, or it is another authority's.
 */
export function readRootFile(file: string, passphrase: string, { root }: Authority): RootKey {
  const text = readTextIfThere(file);
  if (text === undefined) throw new RootKeyError(`there is no file ${file}`);
  const certificate = decodeCertificate(text);
  const [encrypted] = fromPem("ENCRYPTED PRIVATE KEY", text);
  if (certificate === undefined || encrypted === undefined)
    throw new RootKeyError(`${file} holds no certificate with an encrypted private key (PEM)`);
  if (certificate.fingerprint !== root.fingerprint)
    throw new RootKeyError(
      `${file} holds another authority's root (SHA-256 ${certificate.fingerprint} instead of ${root.fingerprint})`,
    );
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: encrypted, format: "der", type: "pkcs8", passphrase });
  } catch (thrown) {
    throw new RootKeyError(
      `the key in ${file} cannot be read: the passphrase is wrong, or the file is damaged`,
      {
        cause: thrown,
      },
    );
  }
  if (!certificate.x509.checkPrivateKey(key))
    throw new RootKeyError(`the key in ${file} is not that of the certificate in it`);
  return { certificate, certificatePem: `${certificate.x509.toString().trim()}\n`, key };
}

/**
 * Writes the root, with its key encrypted, to a file that is not there yet, and reads it back.
 * @throws {RootKeyError | DataDirectoryError}; then there is no file.
 */
export function exportRoot(
  pki: string,
  authority: Authority,
  { file, passphrase }: { readonly file: string; readonly passphrase: string },
): void {
  if (Array.from(passphrase).length < passphraseCharactersMin)
    throw new RootKeyError(`the passphrase has fewer than ${passphraseCharactersMin} characters`);
  const { key, certificatePem } = readRootKey(pki, authority);
  if (readTextIfThere(file) !== undefined)
    throw new RootKeyError(`${file} is there already: choose another file`);
  const encrypted = encryptPrivateKey(key.export({ type: "pkcs8", format: "der" }), passphrase);
  try {
    writePrivateFile(file, certificatePem + encrypted);
    attempt(`write ${file}`, () => syncDirectory(dirname(file)));
    checkCopy(readRootFile(file, passphrase, authority), key);
  } catch (thrown) {
    rmSync(file, { force: true });
    throw thrown;
  }
}

function checkCopy(copy: RootKey, key: KeyObject): void {
  if (!copy.key.equals(key))
    throw new RootKeyError("the exported key is another than the one on this machine");
}

/**
 * Removes the root's key from this machine, once a copy was read that has it. It is written over before, which file systems and
 * flash memory may or may not do in the same place.
 * @throws {RootKeyError} when the copy is not the key that is here; nothing is removed then.
 */
export function removeRootKey(pki: string, authority: Authority, copy: RootKey): void {
  checkCopy(copy, readRootKey(pki, authority).key);
  const path = rootKeyPath(pki);
  attempt(`remove ${path}`, () => {
    const { size } = statSync(path);
    const descriptor = openSync(path, "r+");
    try {
      writeSync(descriptor, Buffer.alloc(size));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    rmSync(path);
    syncDirectory(pki);
  });
}
