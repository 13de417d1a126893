import { existsSync, readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { isDeepStrictEqual } from "node:util";

import { formatBundle, parseBundle, type Bundle } from "@postern/core/bundle";
import { decodeCertificate, renewalDueMs, type Certificate } from "@postern/pki/certificate";

import { backdatedMs, type Authority } from "./authority.ts";
import { withCertificate } from "./device-certificate.ts";
import { credentialDays, newDevice, refusalOfCertificate, refusalOfDevice, type Device } from "./device.ts";
import { attempt, moveIntoPlace, readSecretIfThere, replacePrivateFile, writePrivateFile } from "./files.ts";
import type { DeviceRegistry } from "./registry.ts";

const dayMs = 86_400_000;

export interface BundleRequest {
  /** The directory of the bundles. */
  readonly bundles: string;
  readonly authority: Authority;
  readonly registry: DeviceRegistry;
  /** PEM: whom devices trust for the server. */
  readonly ca: string;
  /** Where devices find the server, the preferred address first; at least one. */
  readonly servers: Bundle["servers"];
  /** Where they renew their certificates. */
  readonly est?: Bundle["est"];
  /** How a device knocks, where a gate hides the server. */
  readonly knock?: ((device: Device) => Bundle["knock"]) | undefined;
  /** The server's public key, as bundles have it. */
  readonly brokerKey?: string | undefined;
  readonly nowMs: number;
}

function bundlePath(bundles: string, device: string): string {
  return join(bundles, `${device}.json`);
}

/** Whom a bundle is for; the roles count only for a device that is not there yet. */
export interface NewBundle {
  readonly tenant: string;
  readonly device: string;
  readonly roles?: readonly string[];
  /** The bundle that it takes the place of, for what else is in it. */
  readonly former?: Bundle;
}

/**
 * Issues a certificate to a device, registers it and writes its bundle. The steps are ordered so that a crash leaves
 * nothing that `repairBundles` cannot finish or undo: the bundle under a temporary name, the registry, the bundle's own name.
 * @returns the bundle's path.
 */
export async function createBundle(
  { bundles, authority, registry, ca, servers, est, knock, brokerKey, nowMs }: BundleRequest,
  { tenant, device, roles = [], former }: NewBundle,
): Promise<string> {
  const { issueDevice } = await import("@postern/pki/issue");
  const validity = { notBeforeMs: nowMs - backdatedMs, notAfterMs: nowMs + credentialDays * dayMs };
  const issued = await issueDevice({ tenant, device, validity, issuer: authority.issuer });
  const certificate = decodeCertificate(issued.certificate);
  if (certificate === undefined) throw new Error("a certificate that was just issued cannot be read");
  const present = registry.find(device) ?? newDevice({ name: device, tenant, roles }, nowMs);
  const knocks = knock?.(present);
  const bundle: Bundle = {
    ...former,
    postern: 1,
    device,
    servers,
    ...(est === undefined ? {} : { est }),
    ca,
    certificate: issued.certificate + authority.issuer.certificate,
    key: issued.key,
    ...(knocks === undefined ? {} : { knock: knocks }),
    ...(brokerKey === undefined ? {} : { brokerKey }),
  };
  const path = bundlePath(bundles, device);
  writePrivateFile(`${path}.tmp`, formatBundle(bundle));
  registry.put(withCertificate(present, certificate, nowMs));
  moveIntoPlace(`${path}.tmp`, path);
  return path;
}

/** Finishes what an interrupted `createBundle` left: a registered certificate's bundle is moved into place, any other is dropped. */
export function repairBundles({ bundles, registry }: Pick<BundleRequest, "bundles" | "registry">): void {
  const names = attempt(`read the directory ${bundles}`, () => readdirSync(bundles));
  for (const name of names.filter((name) => name.endsWith(".json.tmp"))) {
    const path = join(bundles, name);
    const fingerprint = readBundle(path)?.certificate.fingerprint;
    if (fingerprint !== undefined && registry.findByFingerprint(fingerprint) !== undefined) {
      moveIntoPlace(path, path.slice(0, -".tmp".length));
    } else {
      attempt(`remove ${path}`, () => rmSync(path, { force: true }));
    }
  }
}

function readBundle(
  path: string,
): { readonly bundle: Bundle; readonly certificate: Certificate } | undefined {
  const text = readSecretIfThere(path);
  if (text === undefined) return undefined;
  try {
    const bundle = parseBundle(text, path);
    const certificate = decodeCertificate(bundle.certificate ?? "");
    return certificate === undefined ? undefined : { bundle, certificate };
  } catch {
    return undefined;
  }
}

/**
 * Keeps the bundles that are still in the server's directory usable: with the addresses it listens on now, and with a new
 * certificate when two thirds of the old one's validity are over. What is not a bundle of a registered device is left alone.
 * @returns the devices whose bundle changed.
 */
export async function refreshBundles(request: BundleRequest): Promise<string[]> {
  const { bundles, registry, ca, servers, est, nowMs } = request;
  const changed: string[] = [];
  for (const name of attempt(`read the directory ${bundles}`, () => readdirSync(bundles))) {
    if (!name.endsWith(".json")) continue;
    const path = join(bundles, name);
    const found = readBundle(path);
    const known = found === undefined ? undefined : registry.findByFingerprint(found.certificate.fingerprint);
    if (found === undefined || known === undefined || basename(name, ".json") !== known.device.name) continue;
    const { bundle } = found;
    const { device } = known;
    // Nobody gets a new certificate for one that was withdrawn.
    if ((refusalOfDevice(device) ?? refusalOfCertificate(known.certificate, nowMs)) !== undefined) continue;
    if (nowMs >= renewalDueMs(found.certificate) && bundle.key !== undefined) {
      await createBundle(request, { tenant: device.tenant, device: device.name, former: bundle });
    } else {
      const place = { servers, est, ca, knock: request.knock?.(device), brokerKey: request.brokerKey };
      const before = {
        servers: bundle.servers,
        est: bundle.est,
        ca: bundle.ca,
        knock: bundle.knock,
        brokerKey: bundle.brokerKey,
      };
      if (isDeepStrictEqual(before, place)) continue;
      replacePrivateFile(path, formatBundle({ ...bundle, ...place }));
    }
    changed.push(device.name);
  }
  return changed;
}

/** The path of a device's bundle, or `undefined` when it is not (or no longer) in the directory. */
export function findBundle(bundles: string, device: string): string | undefined {
  const path = bundlePath(bundles, device);
  return existsSync(path) ? path : undefined;
}
