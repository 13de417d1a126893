import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { hasCertificate, parseBundle, type Bundle, type CertificateBundle } from "@postern/core/bundle";

import { dataDirectoryAt, openDataDirectory, type DataDirectory } from "./data-directory.ts";
import { openInstallation, provideBundles, type Installation } from "./installation.ts";

/** A data directory in the system's temporary directory, gone when the scope ends. */
export interface TemporaryDirectory extends Disposable {
  readonly directory: DataDirectory;
}

export function temporaryDataDirectory(): TemporaryDirectory {
  const parent = mkdtempSync(join(tmpdir(), "postern-identity-"));
  return {
    directory: dataDirectoryAt(join(parent, "data")),
    [Symbol.dispose]: () => rmSync(parent, { recursive: true, force: true }),
  };
}

export interface StartedInstallation extends Installation {
  readonly firstBundle: string | undefined;
}

/** Starts an installation with the least that it needs, and provides its bundles. */
export async function startInstallation(
  path: DataDirectory,
  changes: {
    readonly nowMs?: number;
    readonly hosts?: readonly string[];
    readonly servers?: Bundle["servers"];
  } = {},
): Promise<StartedInstallation> {
  const {
    nowMs = Date.UTC(2027, 0, 1),
    hosts = ["localhost", "127.0.0.1"],
    servers = [{ url: "mqtts://127.0.0.1:8883" }],
  } = changes;
  const directory = openDataDirectory(path.path);
  const installation = await openInstallation({ directory, hosts, nowMs });
  const firstDevice = { tenant: "default", device: "first-device", roles: ["administrator"] };
  const firstBundle = await provideBundles({ directory, installation, servers, firstDevice, nowMs });
  return { ...installation, firstBundle };
}

/** Reads the bundle of a device that has a certificate. @throws when it is another. */
export function readCertificateBundle(path: string): CertificateBundle {
  const bundle = parseBundle(readFileSync(path, "utf8"), path);
  if (!hasCertificate(bundle)) throw new Error(`${path} holds no certificate with its key`);
  return bundle;
}
