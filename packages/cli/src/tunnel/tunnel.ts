import { existsSync, lstatSync, rmSync } from "node:fs";
import {
  connect as connectTcp,
  createServer,
  isIP,
  type AddressInfo,
  type Server,
  type Socket,
} from "node:net";
import { resolve } from "node:path";
import type { Duplex } from "node:stream";
import { connect as connectTls, type TLSSocket } from "node:tls";

import { credentialsOf, type Bundle } from "@postern/core/bundle";
import { errorText } from "@postern/core/errors";
import { isLoopback } from "@postern/core/host";
import { knockSettings, type KnockSettings } from "@postern/device/knock";
import { KnockingSocket } from "@postern/device/knocking-socket";
import { targetsOf, type Target } from "@postern/device/target";

import { readBundle } from "../client/credentials.ts";
import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import { listenError } from "../server/listen-error.ts";

export interface TunnelOptions {
  readonly bundle: string;
  readonly listen: string;
  readonly insecure?: boolean;
  readonly connections: number;
}

/** How long knocking, connecting and TLS may take for one client. */
const openMs = 20_000;

type Place =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

type TlsTarget = Extract<Target, { readonly kind: "tcp" | "tls" }>;

/** What a tunnel leads to, and as whom. */
interface Way {
  readonly target: TlsTarget;
  readonly knock: KnockSettings | undefined;
  readonly bundle: Bundle;
}

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

function wayOf(options: TunnelOptions, context: CommandContext): Way {
  const warn = (text: string): void => void context.stderr.write(`postern: warning: ${text}\n`);
  const bundle = readBundle(options.bundle, { cwd: context.cwd, warn });
  const target = targetsOf(bundle).find((each): each is TlsTarget => each.kind === "tls");
  if (target === undefined)
    throw new UsageError(`${options.bundle} names no mqtts:// server, which a tunnel needs`);
  return { target, knock: knockSettings(bundle, resolve(context.cwd, options.bundle)), bundle };
}

/** A TLS connection to the server as the bundle's device; emits `error` when it cannot be made. */
function open({ target, knock, bundle }: Way): TLSSocket {
  const { host, port } = target;
  const socket: Duplex =
    knock === undefined ? connectTcp({ host, port, noDelay: true }) : new KnockingSocket(host, port, knock);
  const name = isIP(host) === 0 ? { servername: host } : {};
  const common = { socket, host, ...name, rejectUnauthorized: true, minVersion: "TLSv1.2" } as const;
  const credentials = credentialsOf(bundle);
  const psk = credentials.find((each) => each.kind === "psk");
  const certificate = credentials.find((each) => each.kind === "certificate");
  const tls =
    certificate === undefined && psk !== undefined
      ? connectTls({
          ...common,
          ciphers: "ECDHE-PSK-CHACHA20-POLY1305:PSK-AES256-GCM-SHA384:PSK-AES128-GCM-SHA256:@SECLEVEL=1",
          maxVersion: "TLSv1.2",
          checkServerIdentity: () => undefined,
          pskCallback: () => ({ identity: psk.identity, psk: psk.key }),
        })
      : connectTls({
          ...common,
          ca: bundle.ca,
          ...(certificate === undefined ? {} : { cert: certificate.certificate, key: certificate.key }),
        });
  socket.once("error", (error) => tls.destroy(error));
  return tls;
}

function join(client: Socket, way: Way, context: CommandContext): void {
  const server = open(way);
  const end = (): void => {
    client.destroy();
    server.destroy();
  };
  const timer = setTimeout(() => {
    context.stderr.write(`postern: ${way.target.url} does not let us in: nobody answers\n`);
    end();
  }, openMs);
  server.once("secureConnect", () => {
    clearTimeout(timer);
    client.pipe(server);
    server.pipe(client);
  });
  server.on("error", (error) => {
    if (!client.destroyed) context.stderr.write(`postern: ${way.target.url}: ${errorText(error)}\n`);
    end();
  });
  client.on("error", end);
  client.on("close", () => {
    clearTimeout(timer);
    server.end();
    server.destroySoon();
  });
  server.on("close", () => client.destroySoon());
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
  const way = wayOf(options, context);
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
    join(client, way, context);
  });
  const where = await listen(server, place);
  context.stdout.write(`${where} leads to ${way.target.url} as ${way.bundle.device}. Ctrl-C ends it.\n`);
  if (!credentialsOf(way.bundle).some(({ kind }) => kind === "certificate" || kind === "psk"))
    context.stdout.write(
      "The bundle holds no proof that TLS could carry: the program must log in with the bundle's password or token itself.\n",
    );
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  server.close();
  for (const client of clients) client.destroy();
  context.exitCode = 130;
}
