import { existsSync, lstatSync, rmSync } from "node:fs";
import { createServer, isIP, type AddressInfo, type Server, type Socket } from "node:net";
import { resolve } from "node:path";

import { isLoopback } from "@postern/core/host";

import { renewBundleInBackground } from "../client/renewal.ts";
import { stderrReporter } from "../client/reporter.ts";
import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { listenError } from "../server/listen-error.ts";
import { Passage } from "./passage.ts";
import { Way } from "./way.ts";

export interface TunnelOptions {
  readonly bundle: string;
  readonly listen: string;
  readonly insecure?: boolean;
  readonly connections: number;
}

type Place =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** `127.0.0.1:1883`, `[::1]:1883`, or a path. @throws {UsageError} */
function parsePlace(text: string, insecure: boolean, cwd: string): Place {
  if (text.includes("/")) return { kind: "unix", path: resolve(cwd, text) };
  const [, bracketed, plain, digits = ""] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? "";
  const port = Number(digits);
  if (isIP(host) === 0 || port > 65_535) {
    throw new UsageError(
      `--listen needs an address and a port, 127.0.0.1:1883, or the path of a socket, not "${text}"`,
    );
  }
  if (!isLoopback(host) && !insecure) {
    throw new UsageError(
      `--listen ${text} can be reached from other machines, and whoever connects becomes this device: add --insecure if that is meant`,
    );
  }
  return { kind: "tcp", host, port };
}

async function listen(server: Server, place: Place): Promise<string> {
  if (place.kind === "unix" && existsSync(place.path) && lstatSync(place.path).isSocket()) rmSync(place.path);
  const mask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(
        place.kind === "unix" ? { path: place.path } : { host: place.host, port: place.port },
        resolve,
      );
    });
  } catch (thrown) {
    throw listenError(
      place.kind === "unix" ? place : { kind: "mqtt", host: place.host, port: place.port },
      thrown,
    );
  } finally {
    process.umask(mask);
  }
  const address: AddressInfo | string | null = server.address();
  if (typeof address === "string" || address === null) return String(address);
  return address.family === "IPv6"
    ? `[${address.address}]:${address.port}`
    : `${address.address}:${address.port}`;
}

/** Runs until it is interrupted. @throws {UsageError}, {BundleError}, {ListenError} */
export async function runTunnel(options: TunnelOptions, context: CommandContext): Promise<void> {
  const place = parsePlace(options.listen, options.insecure === true, context.cwd);
  const reporter = stderrReporter(context, false);
  const way = new Way(options.bundle, context);
  using renewal = renewBundleInBackground(options.bundle, context.cwd, reporter);
  void renewal;
  const signal = context.interruption();
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    if (clients.size >= options.connections) {
      client.destroy();
      return;
    }
    clients.add(client);
    client.setNoDelay(true);
    client.once("close", () => clients.delete(client));
    void new Passage(client, way.server(), reporter).open();
  });
  const where = await listen(server, place);
  const { targets, proof } = way.server();
  context.stdout.write(`${where} leads to ${targets[0]?.url ?? ""} as ${way.device}. Ctrl-C ends it.\n`);
  if (proof === "password" || proof === "token") {
    const what = `user name and ${proof}`;
    context.stdout.write(`Programs that give no user name and password get the bundle's ${what}.\n`);
  }
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  server.close();
  for (const client of clients) client.destroy();
  context.exitCode = 130;
}
