import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { dataDirectoryAt, openDataDirectory, type DataDirectory } from "./data-directory.ts";
import { openInstallation, type Installation, type InstallationRequest } from "./installation.ts";

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

/** Starts an installation with the least that it needs. */
export function startInstallation(
  directory: DataDirectory,
  changes: Partial<Omit<InstallationRequest, "directory">> = {},
): Promise<Installation> {
  return openInstallation({
    directory: openDataDirectory(directory.path),
    hosts: ["localhost", "127.0.0.1"],
    servers: [{ url: "mqtts://127.0.0.1:8883" }],
    firstDevice: { tenant: "default", device: "first-device" },
    nowMs: Date.UTC(2027, 0, 1),
    ...changes,
  });
}
