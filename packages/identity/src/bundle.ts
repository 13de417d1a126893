import { z } from "zod";

import { errorText } from "@postern/core/errors";

import { BundleError } from "./errors.ts";

const pem = (label: RegExp, what: string) => z.string().regex(label, { error: `not ${what} in PEM` });

/**
 * All that a device needs to find its server and to prove who it is, in one file. It holds the device's private key:
 * mode 0600, and never in a log.
 */
const bundleSchema = z.object({
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
  /** The certificate authority (PEM) that the server's certificate must lead to; the only one to trust. */
  ca: pem(/^-----BEGIN CERTIFICATE-----/, "a certificate"),
  /** The device's certificate and the issuing authority's, leaf first (PEM). */
  certificate: pem(/^-----BEGIN CERTIFICATE-----/, "a certificate"),
  /** The private key of the certificate (PEM, PKCS #8). */
  key: pem(/^-----BEGIN PRIVATE KEY-----/, "a private key"),
});

/** @see bundleSchema for the fields. Fields of later versions are optional and ignored by earlier ones. */
export type Bundle = z.infer<typeof bundleSchema>;

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
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue?.path.join(".") ?? "";
  const problem = issue === undefined ? errorText(result.error) : issue.message;
  throw new BundleError(
    field === ""
      ? `${source} is not a device bundle: ${problem}`
      : `${source} is not a usable device bundle: "${field}": ${problem}`,
  );
}
