import { resolve } from "node:path";

import { serverOfBundle, type Server } from "@postern/device/bundle-server";
import { isEncrypted, type Target } from "@postern/device/target";

import { readBundle } from "../client/credentials.ts";
import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";

export type TlsTarget = Extract<Target, { readonly kind: "tls" | "tcp" }>;

/** Where a tunnel leads, and as whom. */
export interface TunnelServer extends Server {
  /** At least one; the others are tried when the first cannot be reached. */
  readonly targets: readonly TlsTarget[];
}

/** What a bundle says of its server, as its file is now: its certificate may be renewed while the tunnel is there. */
export class Way {
  readonly #path: string;
  readonly device: string;
  readonly #name: string;
  readonly #cwd: string;
  #known: TunnelServer;

  /** @throws {UsageError}, {BundleError}, {CredentialsError} */
  constructor(name: string, { cwd, stderr }: CommandContext) {
    const warn = (text: string): void => void stderr.write(`postern: warning: ${text}\n`);
    this.#name = name;
    this.#cwd = cwd;
    this.#path = resolve(cwd, name);
    const { device, server } = this.#read(warn);
    this.device = device;
    this.#known = server;
  }

  /** Those that are known when the file cannot be used at the moment. */
  server(): TunnelServer {
    try {
      this.#known = this.#read(() => undefined).server;
    } catch {
      // Half written, or away: what was good a while ago is better than nothing.
    }
    return this.#known;
  }

  #read(warn: (text: string) => void): { readonly device: string; readonly server: TunnelServer } {
    const bundle = readBundle(this.#name, { cwd: this.#cwd, warn });
    const server = serverOfBundle(bundle, { name: this.#name, file: this.#path });
    const targets = server.targets.filter(
      (target): target is TlsTarget => target.kind === "tls" && isEncrypted(target),
    );
    if (targets.length === 0)
      throw new UsageError(`${this.#name} names no mqtts:// server, which a tunnel needs`);
    return { device: bundle.device, server: { ...server, targets } };
  }
}
