import { existsSync, rmSync } from "node:fs";
import { resolve } from "node:path";

import { formatBundle, parseBundle, type Bundle } from "@postern/core/bundle";
import { checkCredentials } from "@postern/device/credentials";
import { ConnectionError } from "@postern/device/errors";
import { fetchPlaces } from "@postern/device/est/device-places";
import {
  askEst,
  certificatesOf,
  granted,
  notAnEstUrl,
  parseEstUrl,
  type EstPlace,
} from "@postern/device/est/est-client";
import { checkIssued, fetchAuthorities, type Authorities } from "@postern/device/est/issued";
import { keyPem, newKey, type KeyType } from "@postern/device/est/keys";
import { trustPem } from "@postern/device/est/trust";
import { enrolmentSettings, type EnrolmentKnock } from "@postern/device/knock";
import { moveIntoPlace, writePrivateFile } from "@postern/identity/files";
import { createRequest } from "@postern/pki/csr-create";
import { isDeviceName } from "@postern/pki/device-uri";

import { claimFile } from "../admin/enrolment-protocol.ts";
import { readInput, readSecretInput, type FilePorts } from "../client/credentials.ts";
import { targetOfUrl } from "../client/target.ts";
import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { parseKnock } from "./knock-line.ts";
import { trustFingerprint } from "./trust.ts";

export interface EnrolOptions {
  readonly url?: string;
  readonly ca?: string;
  readonly fingerprint?: string;
  readonly tokenFile?: string;
  readonly claim?: string;
  readonly device?: string;
  readonly bundle: string;
  readonly server: readonly string[];
  readonly keyType: KeyType;
  readonly force?: true;
  readonly json?: true;
}

/** What a device comes with: where to ask, whom to trust, and what it proves itself with. */
interface Start {
  readonly places: readonly EstPlace[];
  readonly device: string;
  /** The first authority is asked for only now. */
  readonly trust: (place: EstPlace) => Promise<Pick<Authorities, "ca" | "trusted">>;
  readonly proof:
    | { readonly kind: "token"; readonly secret: string }
    | ({ readonly kind: "claim" } & Identity);
}

interface Identity {
  readonly cert: string;
  readonly key: string;
}

function placeOf(url: string, knock: EnrolmentKnock | undefined): EstPlace {
  const place = parseEstUrl(url);
  if (place === undefined) throw new UsageError(notAnEstUrl(url));
  return knock === undefined ? place : { ...place, knock: enrolmentSettings(knock) };
}

/** The token of a file: `device:secret`, or the secret alone when the device is named; below it, how to knock. */
function readToken(tokenFile: string, device: string | undefined, ports: FilePorts) {
  const [line = "", ...more] = readSecretInput(tokenFile, "the token", ports).split(/\r?\n/);
  const [, written, secret = ""] = /^(?:([^:]*):)?([^:]+)$/.exec(line.trim()) ?? [];
  const name = written ?? device ?? "";
  if (secret === "") throw new UsageError(`${tokenFile} holds no enrolment token in its first line`);
  if (device !== undefined && name !== device)
    throw new UsageError(`the token in ${tokenFile} is for "${name}", not for "${device}"`);
  if (!isDeviceName(name))
    throw new UsageError(`${tokenFile} does not say for which device its token is: name it with --device`);
  return {
    name,
    secret,
    knock: more.map((each) => parseKnock(each.trim())).find((each) => each !== undefined),
  };
}

function startWithToken(tokenFile: string, options: EnrolOptions, ports: FilePorts): Start {
  const { url, ca, fingerprint } = options;
  if (url === undefined) throw new UsageError("say where: --url https://host:port");
  const { name, secret, knock } = readToken(tokenFile, options.device, ports);
  const place = placeOf(url, knock);
  if ((ca === undefined) === (fingerprint === undefined)) {
    throw new UsageError(
      "say whom to trust: --ca FILE (the authority's certificate) or --fingerprint SHA-256 (as `postern up` and `postern device enrol` show it)",
    );
  }
  const known =
    ca === undefined
      ? undefined
      : trustPem(readInput(ca, "the certificate authority", ports).toString("utf8"), ca);
  return {
    places: [place],
    device: name,
    trust: async (asked) => known ?? (await trustFingerprint(asked, fingerprint ?? "")),
    proof: { kind: "token", secret },
  };
}

function startWithClaim(
  file: string,
  { device, url, ca, fingerprint }: EnrolOptions,
  ports: FilePorts,
): Start {
  if ((url ?? ca ?? fingerprint) !== undefined)
    throw new UsageError(
      "--claim says where the server is and whom to trust: leave out --url, --ca and --fingerprint",
    );
  let value: unknown;
  try {
    value = JSON.parse(readSecretInput(file, "the claim", ports));
  } catch (thrown) {
    if (thrown instanceof UsageError) throw thrown;
  }
  const parsed = claimFile.safeParse(value);
  if (!parsed.success) throw new UsageError(`${file} is no claim as \`postern device claim\` writes it`);
  const { est, ca: pem, certificate, key, prefix, knock } = parsed.data;
  if (device === undefined || !isDeviceName(device) || !device.startsWith(prefix))
    throw new UsageError(
      `name the device with --device: ${file} makes devices whose names begin with "${prefix}"`,
    );
  const trusted = trustPem(pem, file);
  const identity = { cert: certificate, key };
  checkCredentials({ ca: pem, ...identity }, file);
  return {
    places: est.map((place) => placeOf(place.url, knock)),
    device,
    trust: () => Promise.resolve(trusted),
    proof: { kind: "claim", ...identity },
  };
}

function startOf(options: EnrolOptions, ports: FilePorts): Start {
  const { tokenFile, claim } = options;
  if (tokenFile !== undefined && claim === undefined) return startWithToken(tokenFile, options, ports);
  if (claim !== undefined && tokenFile === undefined) return startWithClaim(claim, options, ports);
  throw new UsageError("say what the device proves itself with: --token-file FILE or --claim FILE");
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
  { device, proof }: Start,
  authorities: Authorities,
  options: EnrolOptions,
): Promise<Bundle> {
  const key = newKey(options.keyType);
  const { ca } = authorities;
  const identity = proof.kind === "claim" ? proof : { cert: undefined, key: undefined };
  const answer = await askEst(
    place,
    { ca, cert: identity.cert, key: identity.key },
    {
      method: "POST",
      path: "/.well-known/est/simpleenroll",
      body: createRequest({ key, device }).toString("base64"),
      ...(proof.kind === "token" ? { user: { name: device, secret: proof.secret } } : {}),
    },
  );
  const certificates = certificatesOf(granted(answer, place, `"${device}" a certificate`), place);
  const { chain } = checkIssued(certificates, { key, device, authorities, nowMs: Date.now() });
  const pem = keyPem(key);
  const told = await fetchPlaces(place, { ca, cert: chain, key: pem });
  const named = options.server.map((url) => ({ url }));
  const servers = named.length > 0 ? named : (told?.servers ?? []);
  const est = told?.est ?? [{ url: place.url }];
  const { knock, brokerKey } = told ?? {};
  return { postern: 1, device, servers, est, ca, certificate: chain, key: pem, knock, brokerKey };
}

/** The first of the places that answers, with its authorities. @throws {ConnectionError} when none does. */
async function firstPlace({ places, trust }: Start): Promise<readonly [EstPlace, Authorities]> {
  let first: ConnectionError | undefined;
  for (const place of places) {
    try {
      return [place, await fetchAuthorities(place, await trust(place))];
    } catch (thrown) {
      if (!(thrown instanceof ConnectionError)) throw thrown;
      first ??= thrown;
    }
  }
  throw first ?? new Error("an enrolment without a place");
}

/** Runs `postern enrol`. @throws {CliError} as its help says; then there is no bundle, or the old one as it was. */
export async function enrol(options: EnrolOptions, context: CommandContext): Promise<void> {
  const { cwd, stdout, stderr } = context;
  const ports: FilePorts = { cwd, warn: (text) => stderr.write(`postern: warning: ${text}\n`) };
  for (const server of options.server) targetOfUrl(server);
  const start = startOf(options, ports);
  const [place, authorities] = await firstPlace(start);
  const path = resolve(cwd, options.bundle);
  const file = reserve(path, options);
  let bundle: Bundle;
  try {
    bundle = await obtain(place, start, authorities, options);
    const text = formatBundle(bundle);
    if (bundle.servers.length > 0) parseBundle(text, options.bundle);
    file.commit(text);
  } catch (thrown) {
    file.discard();
    throw thrown;
  }
  if (bundle.servers.length === 0) {
    ports.warn(
      `${place.url} does not say where the broker is: write it under "servers" in ${options.bundle}, or use --server`,
    );
  }
  stdout.write(
    options.json === true
      ? `${JSON.stringify({ device: bundle.device, bundle: options.bundle, servers: bundle.servers })}\n`
      : `${options.bundle} lets ${bundle.device} in: ${context.program} sub --bundle ${options.bundle} 'devices/${bundle.device}/#'\n`,
  );
}
