import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";

import { readTextIfThere } from "@postern/identity/files";
import type { GivenCertificateFiles } from "@postern/identity/server-certificate";

import type { Configuration } from "../config/configuration.ts";

/** The files of the server certificate that the configuration names, as absolute paths; `undefined` when it names none. */
export function givenCertificateFiles(
  { file = "", tls }: Configuration,
  cwd: string,
): GivenCertificateFiles | undefined {
  const { certificate, key, ca } = tls;
  if (certificate === undefined || key === undefined || ca === undefined) return undefined;
  const directory = dirname(resolve(cwd, file));
  return {
    certificate: resolve(directory, certificate),
    key: resolve(directory, key),
    ca: resolve(directory, ca),
  };
}

/** Whom devices trust for the server, in PEM. */
export function serverCaOf(files: GivenCertificateFiles | undefined, rootPem: string): string {
  return files === undefined ? rootPem : (readTextIfThere(files.ca) ?? rootPem);
}

/** What a file looks like from outside: whoever replaces it changes this. */
function outsideOf(path: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(path);
    return `${ino} ${size} ${mtimeMs}`;
  } catch {
    return "none";
  }
}

/** How often it is looked whether somebody replaced the files. */
const lookMs = 2_000;

/** Calls back whenever one of the files was replaced or changed, until disposed of. */
export function watchGivenCertificate(files: GivenCertificateFiles, onChange: () => void): Disposable {
  const look = (): string => [files.certificate, files.key, files.ca].map(outsideOf).join(", ");
  let seen = look();
  const timer = setInterval(() => {
    const now = look();
    if (now === seen) return;
    seen = now;
    onChange();
  }, lookMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
