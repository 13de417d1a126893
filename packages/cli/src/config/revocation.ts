import { z } from "zod";

import { isWildcard } from "./listener-url.ts";
import type { ConfigFile } from "./read.ts";

/** `http://host:port`, and nothing behind it. */
const httpUrl = /^http:\/\/(\[[0-9A-Fa-f:.]+\]|[^/:@?#[\]\s]+):(\d{1,5})\/?$/;

function isBaseUrl(text: string): boolean {
  const url = URL.parse(text);
  const isPlain = url?.username === "" && url.password === "" && url.search === "" && url.hash === "";
  return isPlain && url.protocol === "http:" && text.length <= 512;
}

export const revocationSchema = z.strictObject({
  /** Where CRL and OCSP are served. */
  url: z
    .string()
    .refine((url) => url === "off" || (httpUrl.test(url) && Number(httpUrl.exec(url)?.[2]) <= 65_535), {
      error: "must be off or look like http://0.0.0.0:8880",
    })
    .optional(),
  /** How others reach it, for certificates. */
  publicUrl: z
    .string()
    .refine(isBaseUrl, {
      error: "must look like http://broker.example.org:8880: plain HTTP, as RFC 5280 wants it",
    })
    .optional(),
});

/** Where others learn which of our certificates are revoked. */
export interface RevocationConfiguration {
  readonly host: string;
  readonly port: number;
  /** The base of the URLs in certificates, without a slash at the end; `undefined` when certificates say nothing. */
  readonly publicUrl: string | undefined;
}

/** @throws {ConfigError} for a public URL of something that is off. */
export function resolveRevocation({ given, errorAt }: ConfigFile): RevocationConfiguration | undefined {
  const { url = "off", publicUrl } = given.revocation ?? {};
  const [, hostText, portText] = httpUrl.exec(url) ?? [];
  if (hostText === undefined) {
    if (publicUrl === undefined) return undefined;
    throw errorAt(
      ["revocation", "publicUrl"],
      "revocation.publicUrl would stand in certificates, but nothing is served there: set revocation.url",
    );
  }
  const host = hostText.replace(/^\[|\]$/g, "");
  const port = Number(portText);
  // Certificates outlive the start of a server: a port that is another each time is no address.
  const isAddress = port !== 0 && !isWildcard(host);
  const base = publicUrl ?? (isAddress ? url : undefined);
  return { host, port, publicUrl: base?.replace(/\/+$/, "") };
}
