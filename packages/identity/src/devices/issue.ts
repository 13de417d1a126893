import { randomBytes } from "node:crypto";

import type { Bundle } from "@postern/core/bundle";
import { decodeCertificate, type Certificate } from "@postern/pki/certificate";
import { decodeRequest } from "@postern/pki/csr";
import { judgeRequest } from "@postern/pki/csr-policy";
import type { PublicKey } from "@postern/pki/public-key";

import { backdatedMs, type Authority } from "../authority.ts";
import { withCertificate } from "../device-certificate.ts";
import type { Device } from "../device.ts";
import { DeviceRequestError } from "../errors.ts";
import { createPasswordCredential, generatePassword } from "../password/password-credential.ts";
import type { DeviceRegistry } from "../registry.ts";
import type { CredentialKind, KeyType } from "./requests.ts";

const daySeconds = 86_400;
const dayMs = daySeconds * 1_000;

/** 256 bits: what TLS 1.3 makes of it is as strong as its ciphers. */
const pskBytes = 32;

/** New credentials: what the registry keeps of them, and what goes to the device. */
export interface IssuedCredentials {
  /** `device` with the new credentials added. */
  apply(device: Device): Device;
  readonly bundle: Pick<Bundle, "certificate" | "key" | "password" | "psk" | "token">;
}

/** @see DeviceManagerOptions.issueToken */
export type IssueToken = (
  device: { readonly name: string; readonly tenant: string },
  life: { readonly nowMs: number; readonly lifeSeconds: number },
) => Promise<{ readonly token: string; readonly jti: string; readonly notAfter: string }>;

export interface IssueRequest {
  readonly name: string;
  readonly tenant: string;
  readonly kinds: readonly CredentialKind[];
  readonly days: number;
  readonly keyType: KeyType;
  readonly csr: string | undefined;
  readonly password: string | undefined;
  readonly authority: Authority;
  readonly issueToken: IssueToken;
  readonly registry: DeviceRegistry;
  readonly nowMs: number;
}

/** The key that a certification request asks a certificate for. @throws {DeviceRequestError} when it may not have one. */
function requestedKey(csr: string, { name, tenant, registry }: IssueRequest): PublicKey {
  const decoded = decodeRequest(csr);
  const problem =
    decoded.kind === "refused" ? decoded : judgeRequest(decoded.request, { tenant, device: name });
  if (decoded.kind === "refused" || problem !== undefined)
    throw new DeviceRequestError(`the certification request is refused: ${problem?.detail ?? ""}`);
  const known = registry.findByKeyId(decoded.request.publicKey.id);
  if (known !== undefined)
    throw new DeviceRequestError(
      `the certification request is refused: its key is or was that of a certificate of "${known.device.name}"; make a new key for each certificate`,
    );
  return decoded.request.publicKey;
}

async function issueCertificate(
  request: IssueRequest,
): Promise<{ readonly certificate: Certificate; readonly pem: string; readonly key: string | undefined }> {
  const { name, tenant, days, keyType, csr, authority, nowMs } = request;
  const { issueDevice, issueDeviceFor } = await import("@postern/pki/issue");
  const validity = { notBeforeMs: nowMs - backdatedMs, notAfterMs: nowMs + days * dayMs };
  const wanted = { tenant, device: name, validity, issuer: authority.issuer };
  const issued =
    csr === undefined
      ? await issueDevice({ ...wanted, algorithm: keyType })
      : { certificate: await issueDeviceFor(wanted, requestedKey(csr, request)), key: undefined };
  const certificate = decodeCertificate(issued.certificate);
  if (certificate === undefined) throw new Error("a certificate that was just issued cannot be read");
  return { certificate, pem: issued.certificate, key: issued.key };
}

async function passwordCredential(chosen: string | undefined) {
  const password = chosen ?? generatePassword();
  try {
    const credential = await createPasswordCredential(password, { generated: chosen === undefined });
    return { password, credential };
  } catch (thrown) {
    if (thrown instanceof RangeError) throw new DeviceRequestError(thrown.message, { cause: thrown });
    throw thrown;
  }
}

function runningTokens({ tokens }: Device, nowMs: number): Device["tokens"] {
  return tokens.filter(({ notAfter }) => Date.parse(notAfter) >= nowMs);
}

/** Makes new credentials of each kind. Nothing is registered yet. @throws {DeviceRequestError} */
export async function issueCredentials(request: IssueRequest): Promise<IssuedCredentials> {
  const { name, tenant, kinds, days, authority, issueToken, nowMs } = request;
  const changes: ((device: Device) => Device)[] = [];
  const bundle: { -readonly [K in keyof IssuedCredentials["bundle"]]: Bundle[K] } = {};
  if (kinds.includes("certificate")) {
    const { certificate, pem, key } = await issueCertificate(request);
    bundle.certificate = pem + authority.issuer.certificate;
    if (key !== undefined) bundle.key = key;
    changes.push((device) => withCertificate(device, certificate, nowMs));
  }
  if (kinds.includes("password")) {
    const { password, credential } = await passwordCredential(request.password);
    bundle.password = password;
    changes.push((device) => ({ ...device, password: credential }));
  }
  if (kinds.includes("psk")) {
    const psk = { identity: name, key: randomBytes(pskBytes).toString("base64") };
    bundle.psk = psk;
    changes.push((device) => ({ ...device, psk }));
  }
  if (kinds.includes("token")) {
    const { token, jti, notAfter } = await issueToken(
      { name, tenant },
      { nowMs, lifeSeconds: days * daySeconds },
    );
    bundle.token = token;
    changes.push((device) => ({ ...device, tokens: [...runningTokens(device, nowMs), { jti, notAfter }] }));
  }
  return { bundle, apply: (device) => changes.reduce((changed, change) => change(changed), device) };
}
