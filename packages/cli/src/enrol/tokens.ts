import { resolve } from "node:path";

import { askServer, existingDataDirectory } from "../admin/client.ts";
import {
  cancelResult,
  newTokenResult,
  tokenList,
  type NewTokenResult,
  type TokenList,
} from "../admin/enrolment-protocol.ts";
import { resolveDataDirectory } from "../config/select.ts";
import type { CommandContext } from "../context.ts";
import { ReservedFile } from "../devices/reserved-file.ts";
import { warnOfUnknownRoles } from "../devices/unknown-roles.ts";
import { formatKnock } from "./knock-line.ts";
import { shellWord } from "../server/banner.ts";

interface Options {
  readonly data?: string;
  readonly json?: true;
}

interface TokenOptions extends Options {
  readonly device: string;
  readonly tenant: string;
  readonly role: readonly string[];
  readonly group: readonly string[];
  readonly lifeMs: number;
  readonly out?: string;
}

function directoryOf({ data }: Options, { cwd }: CommandContext) {
  return existingDataDirectory(resolveDataDirectory(data, cwd));
}

/** What one types on the device. */
function deviceCommand(made: NewTokenResult, tokenFile: string, { program }: CommandContext): string {
  const { device, urls, fingerprint } = made;
  const where = `--url ${urls[0] ?? ""} --fingerprint ${fingerprint}`;
  return `${program} enrol ${where} --token-file ${shellWord(tokenFile)} --bundle ${device}.json`;
}

/** The token and, where the server is hidden, how to knock there: both belong into the file. */
function tokenLines({ token, knock }: NewTokenResult): string[] {
  return knock === undefined ? [token] : [token, formatKnock(knock)];
}

function renderToken(made: NewTokenResult, { out }: TokenOptions, context: CommandContext): string {
  const { device, expires } = made;
  const tokenFile = out ?? `${device}.token`;
  const where =
    out === undefined
      ? [
          `${device} gets a certificate once until ${expires} for this token, which is shown only now:`,
          "",
          ...tokenLines(made).map((line) => `  ${line}`),
          "",
          `On the device, with the token in the file ${tokenFile}:`,
        ]
      : [
          `${device} gets a certificate once until ${expires} for the token in ${out}.`,
          "",
          "On the device, with that file:",
        ];
  return `${[...where, "", `  ${deviceCommand(made, tokenFile, context)}`].join("\n")}\n`;
}

/** Runs `postern device enrol`. */
export async function createToken(options: TokenOptions, context: CommandContext): Promise<void> {
  const { device, tenant, role: roles, group: groups, lifeMs, out, json } = options;
  using reserved =
    out === undefined
      ? undefined
      : new ReservedFile({
          path: resolve(context.cwd, out),
          what: "token",
          option: "--out",
          replace: false,
        });
  const made = await askServer(directoryOf(options, context), context.cwd, {
    method: "POST",
    path: "/enrolment/tokens",
    body: { device, tenant, roles, groups, lifeMs },
    answer: newTokenResult,
  });
  reserved?.write(`${tokenLines(made).join("\n")}\n`);
  warnOfUnknownRoles(roles, directoryOf(options, context), context);
  if (json !== true) {
    context.stdout.write(renderToken(made, options, context));
    return;
  }
  const { token, knock, ...rest } = made;
  const command = deviceCommand(made, out ?? `${device}.token`, context);
  const shown =
    out === undefined
      ? { ...rest, token: tokenLines({ ...made, token, knock }).join("\n"), command }
      : { ...rest, tokenFile: out, command };
  context.stdout.write(`${JSON.stringify(shown)}\n`);
}

function becameOf({ state, used, cancelled, expires }: TokenList[number]): string {
  switch (state) {
    case "open":
      return `open until ${expires}`;
    case "used":
      return `used at ${used?.at ?? ""} from ${used?.from ?? ""}`;
    case "cancelled":
      return `cancelled at ${cancelled ?? ""}`;
    case "expired":
      return `ran out at ${expires}`;
    default:
      return state satisfies never;
  }
}

/** Runs `postern device enrolments`. */
export async function listTokens(options: Options, context: CommandContext): Promise<void> {
  const tokens = await askServer(directoryOf(options, context), context.cwd, {
    method: "GET",
    path: "/enrolment/tokens",
    answer: tokenList,
  });
  if (options.json === true) {
    for (const token of tokens) context.stdout.write(`${JSON.stringify(token)}\n`);
    return;
  }
  const width = Math.max(...tokens.map(({ device }) => device.length), 0);
  for (const token of tokens)
    context.stdout.write(`${token.id}  ${token.device.padEnd(width)}  ${becameOf(token)}\n`);
  if (tokens.length === 0)
    context.stdout.write("there are no enrolment tokens: `postern device enrol` makes one\n");
}

/** Runs `postern device enrolments cancel`. */
export async function cancelTokens(which: string, options: Options, context: CommandContext): Promise<void> {
  const { cancelled } = await askServer(directoryOf(options, context), context.cwd, {
    method: "POST",
    path: "/enrolment/tokens/cancel",
    body: { which },
    answer: cancelResult,
  });
  context.stdout.write(
    options.json === true
      ? `${JSON.stringify({ cancelled })}\n`
      : `${cancelled.join(", ")} cannot be used any more\n`,
  );
}
