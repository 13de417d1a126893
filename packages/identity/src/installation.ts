import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";

import type { Bundle } from "@postern/core/bundle";
import {
  checkClock,
  createAuthority,
  hasAuthority,
  loadAuthority,
  restore,
  type Authority,
  type StatusUrlsOf,
} from "./authority.ts";
import type { DataDirectory } from "./data-directory.ts";
import {
  createBundle,
  findBundle,
  refreshBundles,
  repairBundles,
  type BundleRequest,
  type NewBundle,
} from "./device-bundle.ts";
import { PkiFileError } from "./errors.ts";
import { attempt } from "./files.ts";
import { DeviceRegistry, emptyRegistry } from "./registry.ts";
import {
  loadGivenCertificate,
  obtainServerCertificate,
  type GivenCertificateFiles,
  type ServerCertificate,
} from "./server-certificate.ts";

export interface InstallationRequest {
  readonly directory: DataDirectory;
  /** Names and addresses that the server's certificate must answer for. */
  readonly hosts: readonly string[];
  /** Where the status of certificates can be asked for; stands in those that are issued. */
  readonly urls?: StatusUrlsOf | undefined;
  /** The server's certificate obliges it to staple OCSP answers. */
  readonly mustStaple?: boolean | undefined;
  /** A server certificate of another authority, which is then shown instead of one of ours. */
  readonly given?: GivenCertificateFiles | undefined;
  /** Wall clock. */
  readonly nowMs: number;
  /** The registry when this process has it open already. */
  readonly registry?: DeviceRegistry | undefined;
}

const devicesName = "devices.jsonl";
/** What data directories from before have in its place. */
const formerDevicesName = "devices.json";

/** Where the registry is within the directory of the authority. */
export function devicesFile(pki: string): string {
  return join(pki, devicesName);
}

/** @throws {PkiFileError} when it is damaged or missing: to begin a new one would forget who was revoked. */
export function openDevices(pki: string): DeviceRegistry {
  const path = devicesFile(pki);
  if (!existsSync(path) && !existsSync(join(pki, formerDevicesName)))
    throw new PkiFileError(`${path}, the list of devices and of what was revoked, is missing: ${restore}`);
  return new DeviceRegistry(path);
}

/** Everything about who is who on one server, read or made. */
export interface Installation {
  readonly authority: Authority;
  readonly registry: DeviceRegistry;
  readonly server: ServerCertificate & { readonly renewed: boolean };
  /** PEM: whom devices trust for this server. */
  readonly serverCa: string;
  /** Whether this call made the authority. */
  readonly created: boolean;
}

/**
 * Reads what the data directory holds and makes what is missing of the authority and the server's certificate. Each step is
 * atomic and repeatable, so an interrupted start is completed by the next.
 * @throws {ClockError}, {@link PkiFileError}, {@link DataDirectoryError}
 */
export async function openInstallation({
  directory,
  hosts,
  urls,
  mustStaple = false,
  given,
  nowMs,
  registry: open,
}: InstallationRequest): Promise<Installation> {
  const { pki, bundles } = directory;
  checkClock(nowMs);
  attempt(`write ${pki}`, () => rmSync(`${pki}.tmp`, { recursive: true, force: true }));
  const created = !hasAuthority(pki);
  // From its first moment an authority has the list of those whom it vouches for, so that it can be told when that is lost.
  if (created) await createAuthority(pki, nowMs, [[devicesName, emptyRegistry]]);
  const authority = loadAuthority(pki, nowMs, urls);
  const { ca: serverCa, ...server } =
    given === undefined
      ? {
          ...(await obtainServerCertificate({ pki, authority, hosts, mustStaple, nowMs })),
          ca: authority.rootPem,
        }
      : { ...loadGivenCertificate(given, nowMs), renewed: false };
  const registry = open ?? openDevices(pki);
  repairBundles({ bundles, registry });
  return { authority, registry, server, serverCa, created };
}

export interface ProvideBundlesRequest {
  readonly directory: DataDirectory;
  readonly installation: Pick<Installation, "authority" | "registry" | "serverCa">;
  /** Where devices find the server over TLS; with none, no bundle is made. */
  readonly servers: Bundle["servers"];
  /** Where devices renew their certificates. */
  readonly est?: Bundle["est"];
  /** How a device knocks, where a gate hides the server. */
  readonly knock?: BundleRequest["knock"];
  readonly brokerKey?: BundleRequest["brokerKey"];
  /** The device that gets a bundle while the registry is empty. */
  readonly firstDevice: NewBundle;
  /** Wall clock. */
  readonly nowMs: number;
}

/**
 * Makes the first device with its bundle, or brings the bundles that are in the data directory up to date.
 * @returns the path of the first device's bundle; `undefined` when it was moved away or never made.
 */
export async function provideBundles(request: ProvideBundlesRequest): Promise<string | undefined> {
  const { directory, installation, servers, est, knock, brokerKey, firstDevice, nowMs } = request;
  const { bundles } = directory;
  const { authority, registry, serverCa: ca } = installation;
  const bundleRequest = { bundles, authority, registry, ca, servers, est, knock, brokerKey, nowMs };
  if (servers.length > 0) {
    if (installation.registry.exists) await refreshBundles(bundleRequest);
    else await createBundle(bundleRequest, firstDevice);
  }
  return findBundle(bundles, firstDevice.device);
}
