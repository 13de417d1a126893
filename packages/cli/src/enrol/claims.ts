import { resolve } from "node:path";

import { askServer, existingDataDirectory } from "../admin/client.ts";
import { claimFile, claimList } from "../admin/enrolment-protocol.ts";
import { nothing } from "../admin/protocol.ts";
import { resolveDataDirectory } from "../config/select.ts";
import type { CommandContext } from "../context.ts";
import { ReservedFile } from "../devices/reserved-file.ts";
import { warnOfUnknownRoles } from "../devices/unknown-roles.ts";
import { shellWord } from "../server/banner.ts";

interface Options {
  readonly data?: string;
  readonly json?: true;
}

interface ClaimOptions extends Options {
  readonly name: string;
  readonly tenant: string;
  readonly prefix: string;
  readonly role: readonly string[];
  readonly group: readonly string[];
  readonly devices: number;
  readonly lifeMs: number;
  readonly out: string;
}

function directoryOf({ data }: Options, { cwd }: CommandContext) {
  return existingDataDirectory(resolveDataDirectory(data, cwd));
}

/** Runs `postern device claim`. */
export async function createClaim(options: ClaimOptions, context: CommandContext): Promise<void> {
  const {
    name,
    tenant,
    prefix,
    role: roles,
    group: groups,
    devices: devicesMax,
    lifeMs,
    out,
    json,
  } = options;
  using reserved = new ReservedFile({
    path: resolve(context.cwd, out),
    what: "claim",
    option: "--out",
    replace: false,
  });
  const made = await askServer(directoryOf(options, context), context.cwd, {
    method: "POST",
    path: "/enrolment/claims",
    body: { name, tenant, prefix, roles, groups, devicesMax, lifeMs },
    answer: claimFile,
  });
  reserved.write(`${JSON.stringify(made, undefined, 2)}\n`);
  warnOfUnknownRoles(roles, directoryOf(options, context), context);
  const file = shellWord(out);
  const command = `${context.program} enrol --claim ${file} --device ${prefix}1 --bundle ${prefix}1.json`;
  context.stdout.write(
    json === true
      ? `${JSON.stringify({ claim: name, prefix, devicesMax, expires: made.expires, file: out, command })}\n`
      : `${out} makes up to ${devicesMax} devices whose names begin with "${prefix}", until ${made.expires}.\n\nOn each of them, with a name of its own:\n\n  ${command}\n`,
  );
}

/** Runs `postern device claims`. */
export async function listClaims(options: Options, context: CommandContext): Promise<void> {
  const claims = await askServer(directoryOf(options, context), context.cwd, {
    method: "GET",
    path: "/enrolment/claims",
    answer: claimList,
  });
  const width = Math.max(...claims.map(({ name }) => name.length), 0);
  for (const claim of claims) {
    const { name, prefix, devices, devicesMax, state, expires } = claim;
    context.stdout.write(
      options.json === true
        ? `${JSON.stringify(claim)}\n`
        : `${name.padEnd(width)}  ${devices} of ${devicesMax} devices "${prefix}…", ${state}, until ${expires}\n`,
    );
  }
  if (claims.length === 0 && options.json !== true)
    context.stdout.write("there are no claims: `postern device claim` makes one\n");
}

/** Runs `postern device claims revoke`. */
export async function revokeClaim(name: string, options: Options, context: CommandContext): Promise<void> {
  await askServer(directoryOf(options, context), context.cwd, {
    method: "POST",
    path: "/enrolment/claims/revoke",
    body: { name },
    answer: nothing,
  });
  context.stdout.write(
    options.json === true
      ? `${JSON.stringify({ revoked: name })}\n`
      : `the claim ${name} makes no more devices; those that it made stay\n`,
  );
}
