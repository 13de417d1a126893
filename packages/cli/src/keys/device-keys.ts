import { existsSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

import { formatBundle, parseBundle, type Bundle } from "@postern/core/bundle";
import { errorText } from "@postern/core/errors";
import { replacePrivateFile } from "@postern/device/private-file";
import { dataDirectoryAt } from "@postern/identity/data-directory";
import { decodeCertificate, deviceOf, splitPem } from "@postern/pki/certificate";
import { isDeviceName } from "@postern/pki/device-uri";
import { recipientKey } from "@postern/seal/keys/recipient";

import { UsageError } from "../errors.ts";

/** A device, and the key of its certificate. */
export interface DeviceKey {
  readonly device: string;
  readonly tenant: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly key: Buffer;
  /** The file that says so. */
  readonly source: string;
  /** Where that file is a bundle. */
  readonly bundle: Bundle | undefined;
}

/** Whose keys a device may take: the public key of a tenant's key authority (SubjectPublicKeyInfo, DER, in base64). */
export interface Trust {
  readonly tenant: string;
  readonly authority: string;
}

/** Looks for a device's certificate: `given` is a file (bundle or certificate), or a name, whose bundle is in the data directory. */
export function deviceKeyOf(
  given: string,
  { data, cwd }: { readonly data: string; readonly cwd: string },
): DeviceKey {
  const file = resolve(cwd, given);
  if (existsSync(file) && statSync(file).isFile()) return readDeviceKey(file);
  const { bundles } = dataDirectoryAt(resolve(cwd, data));
  const bundle = join(bundles, `${given}.json`);
  if (isDeviceName(given) && existsSync(bundle)) return readDeviceKey(bundle);
  throw new UsageError(
    `there is neither a file ${given} nor ${bundle}: name the device's bundle, or its certificate (PEM), from which its key is taken`,
  );
}

/** @throws {UsageError} when the file holds no certificate of a device, or one that nothing can be encrypted to. */
export function readDeviceKey(file: string): DeviceKey {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (thrown) {
    throw new UsageError(`cannot read ${file}: ${errorText(thrown)}`, { cause: thrown });
  }
  const bundle = text.trimStart().startsWith("{") ? parseBundle(text, file) : undefined;
  const [pem = ""] = splitPem(bundle === undefined ? text : (bundle.certificate ?? ""));
  const certificate = decodeCertificate(pem);
  const named = certificate === undefined ? undefined : deviceOf(certificate);
  if (certificate === undefined || named === undefined) {
    throw new UsageError(
      `${file} holds no certificate of a device: only devices with one can have keys of groups`,
    );
  }
  const { publicKey } = certificate.x509;
  try {
    recipientKey(publicKey);
  } catch (thrown) {
    throw new UsageError(
      `keys cannot be encrypted to the certificate in ${file}: ${errorText(thrown)}; give the device one of P-256 or Ed25519`,
      { cause: thrown },
    );
  }
  return { ...named, key: publicKey.export({ type: "spki", format: "der" }), source: file, bundle };
}

/**
 * Writes into a device's bundle whose keys it may take, in the place of any other key authority; it stays the file of whoever has it.
 * @returns whether it had to be changed.
 */
export function trustIn(source: string, bundle: Bundle, { tenant, authority }: Trust): boolean {
  const { sealing } = bundle;
  if (
    sealing?.tenant === tenant &&
    sealing.authorities.length === 1 &&
    sealing.authorities[0] === authority
  ) {
    return false;
  }
  const told = formatBundle({ ...bundle, sealing: { tenant, authorities: [authority] } });
  replacePrivateFile(source, told, { keepsOwner: true });
  return true;
}
