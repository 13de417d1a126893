import { z } from "zod";

import { BundleError, errorText } from "./errors.ts";

const pem = (label: RegExp, what: string) => z.string().regex(label, { error: `not ${what} in PEM` });

/**
 * All that a device needs to find its server and to prove who it is, in one file. It holds the device's secret:
 * mode 0600, and never in a log.
 */
export const bundleSchema = z.object({
  /** The version of this format. */
  postern: z.literal(1),
  /** The device's name: what the server knows it by. */
  device: z.string().min(1),
  /** Where the server listens, the preferred address first. */
  servers: z
    .array(
      z.object({
        /** `mqtts://host:port` or `wss://host:port/path`. */
        url: z.url({ protocol: /^(mqtts|wss)$/, error: "not an mqtts:// or wss:// URL" }),
      }),
    )
    .min(1),
  /** Where the device renews its certificate, the preferred address first. @see RFC 7030 */
  est: z.array(z.object({ url: z.url({ protocol: /^https$/, error: "not an https:// URL" }) })).optional(),
  /** The certificate authority (PEM) that the server's certificate must lead to; the only one to trust. */
  ca: pem(/^-----BEGIN CERTIFICATE-----/, "a certificate"),
  /** The device's certificate and the issuing authority's, leaf first (PEM). */
  certificate: pem(/^-----BEGIN CERTIFICATE-----/, "a certificate").optional(),
  /** The private key of the certificate (PEM, PKCS #8); absent when the device made it and keeps it. */
  key: pem(/^-----BEGIN PRIVATE KEY-----/, "a private key").optional(),
  /** The user name is the device's name. */
  password: z.string().min(1).optional(),
  /** For a listener with pre-shared keys; the key in base64. */
  psk: z.object({ identity: z.string().min(1), key: z.base64() }).optional(),
  /** A JSON Web Token, sent in the place of a password. */
  token: z.string().min(1).optional(),
  /** How to knock before connecting, where a gate hides the server. */
  knock: z
    .object({
      /** The gate that packets are for. */
      gate: z.string().min(1),
      /** Its UDP port, at each of the servers' hosts. */
      port: z.int().min(1).max(65_535),
      /** 64 bytes in base64: the key of packets, and that of hints. */
      secret: z.base64().length(88),
      /** The service to ask for. */
      service: z.int().min(0).max(65_535),
      /** The service to ask for before the certificate is renewed, where the enrolment server is hidden too. */
      enrolment: z.int().min(0).max(65_535).optional(),
      /** Which address packets are for: the device's own, or the one that they are seen to come from. */
      address: z.enum(["own", "seen"]),
      /** The device has no clock. */
      clockless: z.boolean().optional(),
    })
    .optional(),
  /** The server's public key (SubjectPublicKeyInfo, DER, in base64), for what is encrypted to the server itself. */
  brokerKey: z.base64().optional(),
  /** Whose keys for sealed payloads the device takes. */
  sealing: z
    .object({
      tenant: z.string().min(1),
      /** Public keys of the key authority (SubjectPublicKeyInfo, DER, in base64): the one in use, and the next. */
      authorities: z.array(z.base64()).min(1).max(4),
    })
    .optional(),
});

/** @see bundleSchema for the fields. Fields of later versions are optional and ignored by earlier ones. */
export type Bundle = z.infer<typeof bundleSchema>;

/** A bundle of a device that proves itself by a certificate, with the key. */
export type CertificateBundle = Bundle & { readonly certificate: string; readonly key: string };

export function hasCertificate(bundle: Bundle): bundle is CertificateBundle {
  return bundle.certificate !== undefined && bundle.key !== undefined;
}

/** One way in which a bundle proves who the device is. */
export type Credential =
  | { readonly kind: "certificate"; readonly certificate: string; readonly key: string | undefined }
  | { readonly kind: "psk"; readonly identity: string; readonly key: Uint8Array }
  | { readonly kind: "token"; readonly username: string; readonly token: string }
  | { readonly kind: "password"; readonly username: string; readonly password: string };

/** What the bundle holds to prove who the device is, the strongest first; a bundle that was parsed has at least one. */
export function credentialsOf(bundle: Bundle): Credential[] {
  const { device: username, certificate, key, psk, token, password } = bundle;
  const credentials: Credential[] = [];
  if (certificate !== undefined) credentials.push({ kind: "certificate", certificate, key });
  if (psk !== undefined)
    credentials.push({ kind: "psk", identity: psk.identity, key: Buffer.from(psk.key, "base64") });
  if (token !== undefined) credentials.push({ kind: "token", username, token });
  if (password !== undefined) credentials.push({ kind: "password", username, password });
  return credentials;
}

/** The file's text. */
export function formatBundle(bundle: Bundle): string {
  return `${JSON.stringify(bundle, undefined, 2)}\n`;
}

/**
 * Reads a bundle file's text; `source` names it in messages.
 * @throws {BundleError} when it is not a bundle this version can use; the message never holds any of the values.
 */
export function parseBundle(text: string, source: string): Bundle {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // V8's message quotes the text around the mistake, which may be the key: it must not become the cause.
    throw new BundleError(`${source} is not a device bundle: it is not JSON`);
  }
  const result = bundleSchema.safeParse(value);
  if (result.success) {
    if (credentialsOf(result.data).length > 0) return result.data;
    throw new BundleError(
      `${source} is not a usable device bundle: it has neither "certificate" nor "psk", "token" or "password"`,
    );
  }
  const issue = result.error.issues[0];
  const field = issue?.path.join(".") ?? "";
  const problem = issue === undefined ? errorText(result.error) : issue.message;
  throw new BundleError(
    field === ""
      ? `${source} is not a device bundle: ${problem}`
      : `${source} is not a usable device bundle: "${field}": ${problem}`,
  );
}
