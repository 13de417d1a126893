import { deviceNameRule, isDeviceName } from "@postern/pki/device-uri";
import { z } from "zod";

import type { ConfigFile } from "./read.ts";

const refreshSecondsDefault = 300;

function isHttpUrl(text: string): boolean {
  const url = URL.parse(text);
  return (
    (url?.protocol === "http:" || url?.protocol === "https:") && url.username === "" && url.password === ""
  );
}

/** Whether a CRL is fetched rather than read from a file. */
export function isUrl(source: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(source);
}

const crlSource = z
  .string()
  .min(1)
  .refine((source) => !isUrl(source) || isHttpUrl(source), {
    error: "must be a file, or an http:// or https:// URL without user name and password",
  });

export const trustAnchorSchema = z.strictObject({
  file: z.string().min(1),
  tenant: z.string().refine(isDeviceName, { error: `must be a tenant's name: ${deviceNameRule}` }),
  revocation: z.enum(["require", "soft", "off"]).optional(),
  crls: z.array(crlSource).max(16).optional(),
  ocsp: z
    .string()
    .refine(isHttpUrl, { error: "must be an http:// or https:// URL without user name and password" })
    .optional(),
  nonce: z.enum(["optional", "require"]).optional(),
  refreshSeconds: z.int().min(1).max(86_400).optional(),
});

/** Authorities of others whose certificates are taken from devices. Files are as given, relative to the configuration. */
export interface TrustAnchorConfiguration {
  readonly file: string;
  readonly tenant: string;
  readonly revocation: "require" | "soft" | "off";
  readonly crls: readonly string[];
  readonly ocsp: string | undefined;
  readonly nonce: "optional" | "require";
  readonly refreshSeconds: number;
}

/** @throws {ConfigError} for sources that nobody would look at. */
export function resolveTrustAnchors({ given, errorAt }: ConfigFile): readonly TrustAnchorConfiguration[] {
  return (given.trustAnchors ?? []).map((anchor, index) => {
    const { revocation = "require", crls = [], ocsp, nonce = "optional" } = anchor;
    if (revocation === "off" && (crls.length > 0 || ocsp !== undefined)) {
      throw errorAt(
        ["trustAnchors", index, "revocation"],
        `trustAnchors[${index}].revocation is off, so nobody looks at its crls and ocsp: choose require or soft, or leave them out`,
      );
    }
    const { file, tenant, refreshSeconds = refreshSecondsDefault } = anchor;
    return { file, tenant, revocation, crls, ocsp, nonce, refreshSeconds };
  });
}
