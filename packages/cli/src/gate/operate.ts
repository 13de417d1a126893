import { networkInterfaces } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

import { banTarget } from "@postern/gate/ban-target";
import { GateLinkError } from "@postern/gate/errors";
import { askGate } from "@postern/gate/link/operator-link";
import { dataDirectoryAt } from "@postern/identity/data-directory";
import { parseIpAddress, parseIpSource, type IpAddress, type IpSource } from "@postern/knock/ip-address";

import { unixSocketPath } from "../admin/socket-path.ts";
import { resolveDataDirectory } from "../config/select.ts";
import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { gateSocketName } from "./gate-files.ts";
import { renderBans, renderGateStatus } from "./render.ts";

export interface GateOptions {
  readonly data?: string;
  readonly json?: boolean;
}

export interface AddBanOptions extends GateOptions {
  readonly seconds: number;
  readonly force?: boolean;
}

export interface LiftBanOptions extends GateOptions {
  readonly all?: boolean;
}

type Request = Parameters<typeof askGate>[1];

const watchMs = 1_000;
/** Clears the terminal and puts the cursor at its beginning. */
const clearScreen = "\u001B[2J\u001B[H";

async function ask(
  options: GateOptions,
  request: Request,
  { cwd }: CommandContext,
): ReturnType<typeof askGate> {
  const { run } = dataDirectoryAt(resolveDataDirectory(options.data, cwd));
  using socket = unixSocketPath(run, gateSocketName, cwd);
  return await askGate(socket.path, request);
}

/** @throws {GateLinkError} as all here, when no gate answers. */
export async function showStatus(options: GateOptions, context: CommandContext): Promise<void> {
  const answer = await ask(options, { kind: "status" }, context);
  if (answer.kind !== "status") return;
  const { status } = answer;
  context.stdout.write(
    options.json === true ? `${JSON.stringify(status)}\n` : renderGateStatus(status, Date.now()),
  );
}

/** Goes on while the gate is started again; only the first time must it be there. */
export async function watch(options: GateOptions, context: CommandContext): Promise<void> {
  const signal = context.interruption();
  const clear = context.stdout.isTTY === true ? clearScreen : "";
  let text = await statusText(options, context);
  while (!signal.aborted) {
    context.stdout.write(clear + text);
    await delay(watchMs, undefined, { signal }).catch(() => undefined);
    text = await statusText(options, context).catch((thrown: unknown) => {
      if (thrown instanceof GateLinkError) return `gate       away: ${thrown.message}\n`;
      throw thrown;
    });
  }
}

async function statusText(options: GateOptions, context: CommandContext): Promise<string> {
  const answer = await ask(options, { kind: "status" }, context);
  return answer.kind === "status" ? renderGateStatus(answer.status, Date.now()) : "";
}

export async function listBans(options: GateOptions, context: CommandContext): Promise<void> {
  const answer = await ask(options, { kind: "bans" }, context);
  if (answer.kind !== "bans") return;
  context.stdout.write(
    options.json === true
      ? `${JSON.stringify({ bans: answer.bans, total: answer.total })}\n`
      : renderBans(answer.bans, answer.total, Date.now()),
  );
}

function sourceOf(address: string): IpSource {
  const source = parseIpSource(address);
  if (source !== undefined) return source;
  throw new UsageError(`"${address}" is neither an IP address nor the /64 of one`);
}

function ownAddresses(): IpAddress[] {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return all.flatMap(({ address }) => parseIpAddress(address) ?? []);
}

export async function addBan(
  address: string,
  options: AddBanOptions,
  context: CommandContext,
): Promise<void> {
  const target = banTarget(address, ownAddresses());
  if (target.kind === "refused") throw new UsageError(target.why);
  if (target.kind === "wide" && options.force !== true)
    throw new UsageError(`${target.why}: --force locks it out all the same`);
  const { source } = target;
  await ask(options, { kind: "ban", source, seconds: options.seconds }, context);
  context.stdout.write(
    options.json === true
      ? `${JSON.stringify({ source, seconds: options.seconds })}\n`
      : `${source} is locked out for ${options.seconds} s\n`,
  );
}

export async function liftBan(
  address: string | undefined,
  options: LiftBanOptions,
  context: CommandContext,
): Promise<void> {
  if ((address === undefined) === (options.all !== true))
    throw new UsageError("name an address, or say --all");
  const source = address === undefined ? null : sourceOf(address);
  const answer = await ask(options, { kind: "lift", source }, context);
  if (answer.kind !== "done") return;
  if (options.json === true) context.stdout.write(`${JSON.stringify({ lifted: answer.count })}\n`);
  else if (source !== null && answer.count === 0) context.stdout.write(`${source} was not locked out\n`);
  else context.stdout.write(`${answer.count === 1 ? "1 ban is" : `${answer.count} bans are`} lifted\n`);
}
