// @peculiar/x509's dependency injection reads decorators' metadata: the polyfill must be there first.
// oxlint-disable-next-line import/no-unassigned-import
import "reflect-metadata";

import { createPrivateKey, randomBytes, webcrypto, type KeyObject } from "node:crypto";
import { isIP } from "node:net";

import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";

import { ExtensionId, ocspAccessMethod } from "./certificate-fields.ts";
import { Purpose } from "./certificate.ts";
import { contextPrimitiveTag } from "./der/tag.ts";
import { explicit, ia5String, integer, nullValue, objectIdentifier, sequence } from "./der/writer.ts";
import { formatClaimUri, formatDeviceUri } from "./device-uri.ts";
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

/** Where the status of a certificate can be asked for, as its bytes say. */
export interface StatusUrls {
  /** Of the issuer's CRL. @see RFC 5280 §4.2.1.13 */
  readonly crl?: string;
  /** Of the issuer's OCSP responder. @see RFC 5280 §4.2.2.1 */
  readonly ocsp?: string;
}

/** An authority that signs, and where the status of what it signs can be asked for: that stands in servers' and devices' certificates. */
export interface Issuer extends KeyPair {
  readonly urls?: StatusUrls | undefined;
}

/** The keys we make. P-256 is what constrained devices have hardware for. */
export type KeyAlgorithm = "P-256" | "Ed25519";

type WebAlgorithm = { readonly name: string; readonly namedCurve?: string; readonly hash?: string };

const ed25519: WebAlgorithm = { name: "Ed25519" };
/** Also those of authorities that others made. */
const ecdsa: Readonly<Record<string, WebAlgorithm>> = {
  prime256v1: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  secp384r1: { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  secp521r1: { name: "ECDSA", namedCurve: "P-521", hash: "SHA-512" },
};
const rsa: WebAlgorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };

const made: Readonly<Record<KeyAlgorithm, WebAlgorithm>> = {
  "P-256": { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  Ed25519: ed25519,
};

function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): WebAlgorithm {
  const algorithm = ecdsa[asymmetricKeyDetails?.namedCurve ?? ""];
  if (algorithm !== undefined) return algorithm;
  if (asymmetricKeyType === "ed25519") return ed25519;
  if (asymmetricKeyType === "rsa") return rsa;
  throw new TypeError(`certificates cannot be signed with a key of type ${asymmetricKeyType ?? "unknown"}`);
}

/** 128 bits, random, positive, and always 16 bytes long. @see RFC 5280 §4.1.2.2 */
function randomSerialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}

interface SigningKey {
  readonly key: webcrypto.CryptoKey;
  readonly algorithm: WebAlgorithm;
}

function importKey(pem: string): SigningKey {
  const key = createPrivateKey(pem);
  const algorithm = algorithmOf(key);
  return { key: key.toCryptoKey(algorithm, false, ["sign"]), algorithm };
}

interface Profile {
  readonly commonName: string;
  readonly validity: Validity;
  /** `undefined` for a certificate that signs itself. */
  readonly issuer: KeyPair | undefined;
  readonly algorithm?: KeyAlgorithm;
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
  { key, algorithm }: SigningKey,
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
    signingKey: key,
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
  const { issuer, algorithm: asked = "P-256" } = profile;
  const algorithm = made[asked];
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  if (!("privateKey" in keys)) throw new TypeError(`${algorithm.name} makes no pairs of keys`);
  const signingKey = issuer === undefined ? { key: keys.privateKey, algorithm } : importKey(issuer.key);
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

function leafExtensions(purpose: Purpose, urls: StatusUrls = {}): Extension[] {
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([purpose]),
    ...statusExtensions(urls),
  ];
}

function extension(oid: string, value: Uint8Array): Extension {
  return new Extension(oid, false, Uint8Array.from(value));
}

/** A GeneralName. */
function uri(url: string): Buffer {
  return ia5String(url, contextPrimitiveTag(6));
}

function statusExtensions({ crl, ocsp }: StatusUrls): Extension[] {
  const extensions: Extension[] = [];
  if (crl !== undefined) {
    const point = sequence(explicit(0, explicit(0, uri(crl))));
    extensions.push(extension(ExtensionId.cRLDistributionPoints, sequence(point)));
  }
  if (ocsp !== undefined) {
    const access = sequence(objectIdentifier(ocspAccessMethod), uri(ocsp));
    extensions.push(extension(ExtensionId.authorityInfoAccess, sequence(access)));
  }
  return extensions;
}

/** A root certificate authority that signs itself. Its key is needed only for `issueIntermediate` and may be kept elsewhere. */
export function issueRoot(request: {
  readonly commonName: string;
  readonly validity: Validity;
  readonly algorithm?: KeyAlgorithm;
}): Promise<KeyPair> {
  return issue({ ...request, issuer: undefined, extensions: authorityExtensions(1) });
}

/** A certificate authority below the root that issues leaf certificates only. */
export function issueIntermediate(request: {
  readonly commonName: string;
  readonly validity: Validity;
  readonly issuer: KeyPair;
  readonly algorithm?: KeyAlgorithm;
}): Promise<KeyPair> {
  return issue({ ...request, extensions: authorityExtensions(0) });
}

/**
 * The certificate with which an OCSP responder answers for what `issuer` issued. Its own status is not asked for, so it is
 * short-lived instead. @see RFC 6960 §4.2.2.2
 */
export function issueOcspResponder(request: {
  readonly validity: Validity;
  readonly issuer: KeyPair;
  readonly algorithm?: KeyAlgorithm;
}): Promise<KeyPair> {
  const noCheck = extension(ExtensionId.ocspNoCheck, nullValue());
  return issue({
    ...request,
    commonName: "Postern OCSP responder",
    extensions: [...leafExtensions(Purpose.ocspSigning), noCheck],
  });
}

/** @see RFC 7633 §6: the TLS extension status_request */
const statusRequestFeature = 5;

export interface ServerRequest {
  /** Host names and IP addresses (IPv6 without brackets). */
  readonly hosts: readonly string[];
  readonly validity: Validity;
  readonly issuer: Issuer;
  readonly algorithm?: KeyAlgorithm;
  /** Whoever shows it must staple an OCSP answer; clients then refuse it without. */
  readonly mustStaple?: boolean;
}

/** A server's certificate. Never outlives its issuer. */
export function issueServer({ hosts, mustStaple = false, ...request }: ServerRequest): Promise<KeyPair> {
  const names = hosts.map((host) => ({
    type: isIP(host) === 0 ? ("dns" as const) : ("ip" as const),
    value: host,
  }));
  const staple = mustStaple
    ? [extension(ExtensionId.tlsFeature, sequence(integer(statusRequestFeature)))]
    : [];
  return issue({
    ...request,
    commonName: "Postern server",
    extensions: [
      ...leafExtensions(Purpose.serverAuth, request.issuer.urls),
      new SubjectAlternativeNameExtension(names),
      ...staple,
    ],
  });
}

interface DeviceRequest {
  readonly tenant: string;
  readonly device: string;
  readonly validity: Validity;
  readonly issuer: Issuer;
  readonly algorithm?: KeyAlgorithm;
}

function deviceProfile({ tenant, device, ...request }: DeviceRequest): Profile {
  const names = [{ type: "url" as const, value: formatDeviceUri({ tenant, device }) }];
  return {
    ...request,
    commonName: device,
    extensions: [
      ...leafExtensions(Purpose.clientAuth, request.issuer.urls),
      new SubjectAlternativeNameExtension(names),
    ],
  };
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
  return certify(deviceProfile(request), Uint8Array.from(publicKey.spki), importKey(request.issuer.key));
}

/**
 * A certificate that lets whoever has it ask for a device's certificate, and nothing else: it names no device, but a claim,
 * `urn:iot-claim:<tenant>:<claim>`. Never outlives its issuer.
 * @throws {RangeError} when tenant or claim is not a legal name.
 */
export async function issueClaim(request: {
  readonly tenant: string;
  readonly claim: string;
  readonly validity: Validity;
  readonly issuer: Issuer;
}): Promise<KeyPair> {
  const { tenant, claim, validity, issuer } = request;
  const names = [{ type: "url" as const, value: formatClaimUri({ tenant, claim }) }];
  return issue({
    commonName: `claim ${claim}`,
    validity,
    issuer,
    extensions: [
      ...leafExtensions(Purpose.clientAuth, issuer.urls),
      new SubjectAlternativeNameExtension(names),
    ],
  });
}
