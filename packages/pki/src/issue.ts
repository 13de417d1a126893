// @peculiar/x509's dependency injection reads decorators' metadata: the polyfill must be there first.
// oxlint-disable-next-line import/no-unassigned-import
import "reflect-metadata";

import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";

import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

import { Purpose } from "./certificate.ts";
import { formatDeviceUri } from "./device-uri.ts";
import { toPem } from "./pem.ts";
import type { PublicKey } from "./public-key.ts";

/** A certificate and its private key. */
export interface KeyPair {
  /** PEM, one certificate. */
  readonly certificate: string;
  /** PEM, PKCS #8, not encrypted: a secret. */
  readonly key: string;
}

/** Wall clock, ms; certificates hold whole seconds. */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** P-256 with ECDSA and SHA-256: what constrained devices have hardware for. */
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** 128 bits, random, positive, and always 16 bytes long. @see RFC 5280 §4.1.2.2 */
function randomSerialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
  return webcrypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
}

interface Profile {
  readonly commonName: string;
  readonly validity: Validity;
  /** `undefined` for a certificate that signs itself. */
  readonly issuer: KeyPair | undefined;
  readonly extensions: readonly Extension[];
}

function wholeSecond(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}

type PublicKeyBits = webcrypto.CryptoKey | Uint8Array<ArrayBuffer>;

/** @returns PEM */
async function certify(
  { commonName, validity, issuer, extensions }: Profile,
  publicKey: PublicKeyBits,
  signingKey: webcrypto.CryptoKey,
): Promise<string> {
  const authority = issuer === undefined ? undefined : new X509Certificate(issuer.certificate);
  const subject = [{ CN: [commonName] }];
  const notAfterMs = Math.min(validity.notAfterMs, authority?.notAfter.getTime() ?? Number.POSITIVE_INFINITY);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: randomSerialNumber(),
    subject,
    issuer: authority?.subjectName.toJSON() ?? subject,
    notBefore: wholeSecond(validity.notBeforeMs),
    notAfter: wholeSecond(notAfterMs),
    publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    extensions: [
      ...extensions,
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(authority?.publicKey ?? publicKey),
    ],
  });
  return `${certificate.toString("pem")}\n`;
}

async function issue(profile: Profile): Promise<KeyPair> {
  const { issuer } = profile;
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const signingKey = issuer === undefined ? keys.privateKey : await importKey(issuer.key);
  return {
    certificate: await certify(profile, keys.publicKey, signingKey),
    key: toPem("PRIVATE KEY", new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey))),
  };
}

function authorityExtensions(pathLength: number): Extension[] {
  return [
    new BasicConstraintsExtension(true, pathLength, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ];
}

function leafExtensions(
  purpose: Purpose,
  names: ConstructorParameters<typeof SubjectAlternativeNameExtension>[0],
): Extension[] {
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([purpose]),
    new SubjectAlternativeNameExtension(names),
  ];
}

/** A root certificate authority that signs itself. Its key is needed only for `issueIntermediate` and may be kept elsewhere. */
export function issueRoot(request: {
  readonly commonName: string;
  readonly validity: Validity;
}): Promise<KeyPair> {
  return issue({ ...request, issuer: undefined, extensions: authorityExtensions(1) });
}

/** A certificate authority below the root that issues leaf certificates only. */
export function issueIntermediate(request: {
  readonly commonName: string;
  readonly validity: Validity;
  readonly issuer: KeyPair;
}): Promise<KeyPair> {
  return issue({ ...request, extensions: authorityExtensions(0) });
}

/** A server's certificate for `hosts`: host names and IP addresses (IPv6 without brackets). Never outlives its issuer. */
export function issueServer(request: {
  readonly hosts: readonly string[];
  readonly validity: Validity;
  readonly issuer: KeyPair;
}): Promise<KeyPair> {
  const names = request.hosts.map((host) => ({
    type: isIP(host) === 0 ? ("dns" as const) : ("ip" as const),
    value: host,
  }));
  return issue({
    ...request,
    commonName: "Postern server",
    extensions: leafExtensions(Purpose.serverAuth, names),
  });
}

interface DeviceRequest {
  readonly tenant: string;
  readonly device: string;
  readonly validity: Validity;
  readonly issuer: KeyPair;
}

function deviceProfile({ tenant, device, validity, issuer }: DeviceRequest): Profile {
  const names = [{ type: "url" as const, value: formatDeviceUri({ tenant, device }) }];
  return { commonName: device, validity, issuer, extensions: leafExtensions(Purpose.clientAuth, names) };
}

/**
 * A device's certificate, which names it `urn:iot:<tenant>:<device>`. Never outlives its issuer.
 * @throws {RangeError} when tenant or device is not a legal name.
 */
export async function issueDevice(request: DeviceRequest): Promise<KeyPair> {
  return issue(deviceProfile(request));
}

/**
 * The same for a device that keeps its private key to itself.
 * @returns the certificate in PEM.
 * @throws {RangeError} when tenant or device is not a legal name.
 */
export async function issueDeviceFor(request: DeviceRequest, publicKey: PublicKey): Promise<string> {
  return certify(
    deviceProfile(request),
    Uint8Array.from(publicKey.spki),
    await importKey(request.issuer.key),
  );
}
