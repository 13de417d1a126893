import { existsSync, rmSync } from "node:fs";
import { resolve } from "node:path";

import { formatBundle, parseBundle, type Bundle } from "@postern/identity/bundle";
import { moveIntoPlace, writePrivateFile } from "@postern/identity/files";
import { createRequest } from "@postern/pki/csr-create";
import { isDeviceName } from "@postern/pki/device-uri";

import { readInput, readSecretInput, type FilePorts } from "../client/credentials.ts";
import { parseTarget } from "../client/target.ts";
import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { fetchPlaces } from "./device-places.ts";
import { askEst, certificatesOf, granted, parseEstUrl, type EstPlace } from "./est-client.ts";
import { checkIssued, fetchAuthorities, type Authorities } from "./issued.ts";
import { keyPem, newKey, type KeyType } from "./keys.ts";
import { trustFingerprint, trustPem } from "./trust.ts";

export interface EnrolOptions {
  readonly url: string;
  readonly ca?: string;
  readonly fingerprint?: string;
  readonly tokenFile: string;
  readonly device?: string;
  readonly bundle: string;
  readonly server: readonly string[];
  readonly keyType: KeyType;
  readonly force?: true;
  readonly json?: true;
}

interface Proof {
  readonly name: string;
  readonly secret: string;
}

/** The token of a file: `device:secret`, or the secret alone when the device is named. */
function readToken({ tokenFile, device }: EnrolOptions, ports: FilePorts): Proof {
  const [line = ""] = readSecretInput(tokenFile, "the token", ports).split(/\r?\n/, 1);
  const [, written, secret = ""] = /^(?:([^:]*):)?([^:]+)$/.exec(line.trim()) ?? [];
  const name = written ?? device ?? "";
  if (secret === "") throw new UsageError(`${tokenFile} holds no enrolment token in its first line`);
  if (device !== undefined && name !== device)
    throw new UsageError(`the token in ${tokenFile} is for "${name}", not for "${device}"`);
  if (!isDeviceName(name))
    throw new UsageError(`${tokenFile} does not say for which device its token is: name it with --device`);
  return { name, secret };
}

function trust(
  options: EnrolOptions,
  place: EstPlace,
  ports: FilePorts,
): Promise<Pick<Authorities, "ca" | "trusted">> {
  const { ca, fingerprint } = options;
  if ((ca === undefined) === (fingerprint === undefined)) {
    throw new UsageError(
      "say whom to trust: --ca FILE (the authority's certificate) or --fingerprint SHA-256 (as `postern up` and `postern device enrol` show it)",
    );
  }
  return fingerprint === undefined
    ? Promise.resolve(
        trustPem(readInput(ca ?? "", "the certificate authority", ports).toString("utf8"), ca ?? ""),
      )
    : trustFingerprint(place, fingerprint);
}

/** A file that will hold a secret, begun before anything is asked for: a token must not be lost to a directory that cannot be written. */
function reserve(
  path: string,
  { bundle, force }: EnrolOptions,
): { commit(text: string): void; discard(): void } {
  if (existsSync(path) && force !== true)
    throw new UsageError(
      `${bundle} is there already: --force replaces it, \`postern renew\` renews its certificate`,
    );
  const temporary = `${path}.new`;
  writePrivateFile(temporary, "");
  return {
    commit: (text) => {
      writePrivateFile(temporary, text);
      moveIntoPlace(temporary, path);
    },
    discard: () => rmSync(temporary, { force: true }),
  };
}

async function obtain(
  place: EstPlace,
  proof: Proof,
  authorities: Authorities,
  options: EnrolOptions,
): Promise<Bundle> {
  const key = newKey(options.keyType);
  const tls = { ca: authorities.ca, cert: undefined, key: undefined };
  const request = createRequest({ key, device: proof.name }).toString("base64");
  const answer = await askEst(place, tls, {
    method: "POST",
    path: "/.well-known/est/simpleenroll",
    body: request,
    user: proof,
  });
  const certificates = certificatesOf(granted(answer, place, `"${proof.name}" a certificate`), place);
  const { chain } = checkIssued(certificates, { key, device: proof.name, authorities, nowMs: Date.now() });
  const pem = keyPem(key);
  const told = await fetchPlaces(place, { ca: authorities.ca, cert: chain, key: pem });
  const named = options.server.map((url) => ({ url }));
  const servers = named.length > 0 ? named : (told?.servers ?? []);
  const est = told?.est ?? [{ url: place.url }];
  const device = proof.name;
  return { postern: 1, device, servers, est, ca: authorities.ca, certificate: chain, key: pem };
}

/** Runs `postern enrol`. @throws {CliError} as its help says; then there is no bundle, or the old one as it was. */
export async function enrol(options: EnrolOptions, context: CommandContext): Promise<void> {
  const { cwd, stdout, stderr } = context;
  const ports: FilePorts = { cwd, warn: (text) => stderr.write(`postern: warning: ${text}\n`) };
  const place = parseEstUrl(options.url);
  for (const server of options.server) parseTarget(server);
  const proof = readToken(options, ports);
  const trusted = await trust(options, place, ports);
  const authorities = await fetchAuthorities(place, trusted);
  const path = resolve(cwd, options.bundle);
  const file = reserve(path, options);
  let bundle: Bundle;
  try {
    bundle = await obtain(place, proof, authorities, options);
    const text = formatBundle(bundle);
    if (bundle.servers.length > 0) parseBundle(text, options.bundle);
    file.commit(text);
  } catch (thrown) {
    file.discard();
    throw thrown;
  }
  if (bundle.servers.length === 0)
    ports.warn(
      `${place.url} does not say where the broker is: write it under "servers" in ${options.bundle}, or use --server`,
    );
  stdout.write(
    options.json === true
      ? `${JSON.stringify({ device: bundle.device, bundle: options.bundle, servers: bundle.servers })}\n`
      : `${options.bundle} lets ${bundle.device} in: ${context.program} sub --bundle ${options.bundle} 'devices/${bundle.device}/#'\n`,
  );
}
