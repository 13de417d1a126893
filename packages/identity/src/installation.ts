import { rmSync } from "node:fs";
import { join } from "node:path";

import type { Certificate } from "@postern/pki/certificate";

import { checkClock, createAuthority, hasAuthority, loadAuthority, type Authority } from "./authority.ts";
import type { Bundle } from "./bundle.ts";
import type { DataDirectory } from "./data-directory.ts";
import { createBundle, findBundle, refreshBundles, repairBundles } from "./device-bundle.ts";
import { attempt } from "./files.ts";
import { DeviceRegistry } from "./registry.ts";
import { obtainServerCertificate, type ServerCertificate } from "./server-certificate.ts";

export interface InstallationRequest {
  readonly directory: DataDirectory;
  /** Names and addresses that the server's certificate must answer for. */
  readonly hosts: readonly string[];
  /** Where devices find the server over TLS; with none, no bundle is made. */
  readonly servers: Bundle["servers"];
  /** The device that the first start makes a bundle for. */
  readonly firstDevice: { readonly tenant: string; readonly device: string };
  /** Wall clock. */
  readonly nowMs: number;
}

/** Everything about who is who on one server, read or made. */
export interface Installation {
  readonly authority: Authority;
  readonly registry: DeviceRegistry;
  readonly server: ServerCertificate & { readonly renewed: boolean };
  /** The first device's bundle; `undefined` when it was moved away or never made. */
  readonly firstBundle: string | undefined;
  /** Whether this call made the authority. */
  readonly created: boolean;
}

/**
 * Reads what the data directory holds and makes what is missing: authority, server certificate, and for an empty
 * registry one device with its bundle. Each step is atomic and repeatable, so an interrupted start is completed by the next.
 * @throws {ClockError}, {@link PkiFileError}, {@link DataDirectoryError}
 */
export async function openInstallation(request: InstallationRequest): Promise<Installation> {
  const { directory, hosts, servers, firstDevice, nowMs } = request;
  const { pki, bundles } = directory;
  checkClock(nowMs);
  attempt(`write ${pki}`, () => rmSync(`${pki}.tmp`, { recursive: true, force: true }));
  const created = !hasAuthority(pki);
  if (created) await createAuthority(pki, nowMs);
  const authority = loadAuthority(pki, nowMs);
  const server = await obtainServerCertificate({ pki, authority, hosts, nowMs });

  const registry = new DeviceRegistry(join(pki, "devices.json"));
  repairBundles({ bundles, registry });
  const bundleRequest = { bundles, authority, registry, servers, nowMs };
  if (servers.length > 0) {
    if (registry.exists) await refreshBundles(bundleRequest);
    else await createBundle(bundleRequest, firstDevice);
  }
  return { authority, registry, server, firstBundle: findBundle(bundles, firstDevice.device), created };
}

/** The certificates of an installation that will expire, for status and warnings. */
export function expiringCertificates({
  authority,
  server,
}: Pick<Installation, "authority" | "server">): readonly {
  readonly name: string;
  readonly certificate: Certificate;
}[] {
  return [
    { name: "certificate authority (root)", certificate: authority.root },
    { name: "certificate authority (issuing)", certificate: authority.issuing },
    { name: "server", certificate: server.certificate },
  ];
}
