import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { decodeCertificateFields, type CertificateFields } from "./certificate-fields.ts";
import { decodeCertificate, type Certificate } from "./certificate.ts";
import { fromPem } from "./pem.ts";

/** Why tests with openssl are skipped, or false. */
export const noOpenssl: string | false =
  spawnSync("openssl", ["version"]).status === 0 ? false : "openssl is not installed";

export interface OpensslResult {
  readonly status: number | null;
  /** Both outputs. */
  readonly text: string;
  readonly stdout: Buffer;
}

/** openssl with files of its own, removed at the end of the scope. */
export class Openssl implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "postern-pki-"));

  /** The path of a new file. */
  file(content: string | Uint8Array): string {
    const path = join(this.directory, randomUUID());
    writeFileSync(path, content);
    return path;
  }

  run(args: readonly (string | readonly string[])[], input: string | Uint8Array = ""): OpensslResult {
    const { status, stdout, stderr } = spawnSync("openssl", args.flat(), { input, cwd: this.directory });
    return { status, stdout, text: `${stdout.toString()}${stderr.toString()}` };
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The first certificate in `pem`. */
export function derOf(pem: string): Buffer {
  const [der] = fromPem("CERTIFICATE", pem);
  if (der === undefined) throw new Error("no certificate");
  return der;
}

export function certificateOf(pem: string): Certificate {
  const certificate = decodeCertificate(pem);
  if (certificate === undefined) throw new Error("no certificate");
  return certificate;
}

export function fieldsOf(pem: string): CertificateFields {
  const decoded = decodeCertificateFields(derOf(pem));
  if (decoded.kind === "malformed") throw new Error(decoded.reason);
  return decoded.value;
}
