import { createPublicKey } from "node:crypto";

import type { Bundle } from "@postern/core/bundle";
import { decodeCertificate, deviceOf } from "@postern/pki/certificate";
import { verifyingKey, type VerifyingKey } from "@postern/seal/keys/signature";

import type { BundleSource } from "../bundle-server.ts";
import type { SealOptions } from "../options.ts";
import { Sealing, type SealIdentity } from "./sealing.ts";

/** As the bundle and the application say. @throws {TypeError} where nothing says what to keep beside a bundle that is not in a file. */
export async function sealingOf(
  bundle: Bundle,
  { file, key }: BundleSource,
  { seal, leavesWill }: { readonly seal: SealOptions | false | undefined; readonly leavesWill: boolean },
): Promise<Sealing | undefined> {
  if (seal === false || (seal === undefined && bundle.sealing === undefined)) return undefined;
  const state = seal?.state ?? (file === undefined ? undefined : `${file}.seal`);
  if (state === undefined)
    throw new TypeError("sealing needs a directory to keep its state in: seal.state, or the bundle's path");
  const authorities = seal?.authorities?.map(keyOfPem) ?? bundle.sealing?.authorities.map(keyOfBase64) ?? [];
  return Sealing.start(identityOf(bundle, key), { state, rules: seal?.rules ?? [], authorities, leavesWill });
}

function keyOfPem(pem: string): VerifyingKey {
  return verifyingKey(createPublicKey(pem));
}

function keyOfBase64(spki: string): VerifyingKey {
  return verifyingKey(createPublicKey({ key: Buffer.from(spki, "base64"), format: "der", type: "spki" }));
}

/** Who seals: the device of the bundle, in the tenant that its certificate names. */
function identityOf({ device, certificate, key, sealing }: Bundle, given: string | undefined): SealIdentity {
  const leaf = certificate === undefined ? undefined : decodeCertificate(certificate);
  const tenant = sealing?.tenant ?? (leaf && deviceOf(leaf)?.tenant) ?? "default";
  const notBeforeMs = leaf?.x509.validFromDate.getTime() ?? 0;
  return { tenant, device, key: key ?? given, notBeforeMs };
}
