import { readFileSync } from "node:fs";

import { errorText } from "@postern/core/errors";
import { type CbkeSecrets, suiteOfCertificate } from "@postern/zigbee/key-establishment/cbke-harvester";
import { z } from "zod";

import { UsageError } from "../errors.ts";
import { fileIssue } from "./file-issue.ts";

const hex = z
  .string()
  .regex(/^([\da-f]{2})+$/i, "is not an even number of hexadecimal digits")
  .transform((text) => new Uint8Array(Buffer.from(text, "hex")));

const certificate = hex.refine(
  (bytes) => suiteOfCertificate(bytes) !== undefined,
  "is neither a certificate of 48 bytes (sect163k1) nor one of 74 (sect283k1)",
);

const secretsSchema = z.array(
  z.strictObject({
    certificate,
    privateKey: hex,
    ephemeralPrivateKeys: z.array(hex).min(1),
    authorityKey: hex,
  }),
);

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Secrets as `loadCbkeSecrets` reads them. */
export function cbkeSecretsJson(secrets: readonly CbkeSecrets[]): string {
  const sides = secrets.map((side) => ({
    certificate: text(side.certificate),
    privateKey: text(side.privateKey),
    ephemeralPrivateKeys: side.ephemeralPrivateKeys.map(text),
    authorityKey: text(side.authorityKey),
  }));
  return `${JSON.stringify(sides, undefined, 2)}\n`;
}

/** Reads the secrets of devices that establish keys by certificates. Throws `UsageError`, which never quotes one. */
export function loadCbkeSecrets(file: string, name: string): readonly CbkeSecrets[] {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (thrown) {
    // What the parser says quotes the text.
    const why = thrown instanceof SyntaxError ? "it is not JSON" : errorText(thrown);
    throw new UsageError(`cannot read ${name}: ${why}`, {
      cause: thrown instanceof SyntaxError ? undefined : thrown,
    });
  }
  const parsed = secretsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new UsageError(fileIssue(name, parsed.error));
}
