import { connect } from "node:net";
import { resolve } from "node:path";

import { ConnectionError } from "@postern/device/errors";
import { knock, knockSettings, synRetriesMs, type Knocked, type KnockSettings } from "@postern/device/knock";
import { targetsOf } from "@postern/device/target";
import { parseIpAddress, type IpAddress } from "@postern/knock/ip-address";

import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { readBundle } from "./credentials.ts";

export interface KnockOptions {
  readonly bundle: string;
  readonly close?: boolean;
  readonly extend?: boolean;
  readonly seconds?: number;
  readonly address?: string;
  readonly check?: boolean;
  readonly json?: boolean;
}

/** @throws {UsageError} for a bundle without a knock key, {ConnectionError} when nothing could be sent or the door is shut. */
export async function runKnock(options: KnockOptions, context: CommandContext): Promise<void> {
  const warn = (text: string): void => void context.stderr.write(`postern: warning: ${text}\n`);
  const bundle = readBundle(options.bundle, { cwd: context.cwd, warn });
  const settings = knockSettings(bundle, resolve(context.cwd, options.bundle));
  if (settings === undefined) {
    throw new UsageError(
      `${options.bundle} says nothing of knocking: its server has no gate, or had none when the bundle was made; connect without`,
    );
  }
  if (options.close === true && options.extend === true)
    throw new UsageError("--close and --extend exclude each other");
  const action = options.close === true ? "close" : options.extend === true ? "extend" : "open";
  const request = {
    action,
    windowSeconds: options.seconds ?? 0,
    seenFrom: seenFrom(options, settings),
  } as const;
  const places = new Map(
    targetsOf(bundle).flatMap((target) =>
      target.kind === "unix" ? [] : [[target.host, target.port] as const],
    ),
  );
  const knocked: (Knocked & { readonly host: string })[] = [];
  let failure: unknown;
  for (const [host, port] of places) {
    try {
      const sent = await knock(host, settings, request);
      if (options.check === true && !(await opens(host, port))) {
        throw new ConnectionError(
          `${host} port ${port} does not answer after the knock: is the clock right, the device in use, the address the one that the gate sees?`,
          { retry: true },
        );
      }
      knocked.push(...sent.map(({ to, from }) => ({ host, to, from })));
      // The addresses of one server: the first that there is a way to is enough.
      break;
    } catch (thrown) {
      failure ??= thrown;
    }
  }
  if (knocked.length === 0) throw failure;
  if (options.json === true) {
    context.stdout.write(`${JSON.stringify({ action, port: settings.port, knocked })}\n`);
    return;
  }
  for (const { host, to, from } of knocked) {
    const place = host === to ? to : `${host} (${to})`;
    const seen = from === undefined ? "the address it sees" : from;
    const open = options.check === true ? "; the door is open" : "";
    context.stdout.write(`knocked at ${place} port ${settings.port}, ${action} for ${seen}${open}\n`);
  }
}

/** The address that the user says this device is seen from. @throws {UsageError} */
function seenFrom({ address: text }: KnockOptions, { address }: KnockSettings): IpAddress | undefined {
  if (text === undefined) return undefined;
  const seen = parseIpAddress(text);
  if (seen === undefined) throw new UsageError(`--address needs an IP address, not "${text}"`);
  if (address === "own") return seen;
  throw new UsageError("this device's packets are for whatever address they come from: leave out --address");
}

async function opens(host: string, port: number): Promise<boolean> {
  for (const waitMs of synRetriesMs) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect({ host, port });
      socket.setTimeout(waitMs, () => socket.destroy());
      socket.on("error", () => {});
      socket.once("connect", () => {
        resolve(true);
        socket.destroy();
      });
      socket.once("close", () => resolve(false));
    });
    if (open) return true;
  }
  return false;
}
