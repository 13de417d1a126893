import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import type { Address } from "@postern/broker/testing/wire-client";
import { bundleSchema, type Bundle } from "@postern/core/bundle";
import { dataDirectoryAt, type DataDirectory } from "@postern/identity/data-directory";
import type { IClientOptions } from "mqtt";
import { z } from "zod";

import { askServer } from "../../src/admin/client.ts";
import { statusSchema, type Status } from "../../src/admin/protocol.ts";
import { configured } from "./configurations.ts";
import { TestClient } from "./mqttjs.ts";
import { postern, scratch, up, type Ended, type TestServer } from "./postern.ts";

const configuration = `
listeners:
  - url: mqtts://127.0.0.1:0
  - url: mqtt://127.0.0.1:0
    anonymous: true
metrics: { url: off }
log: { level: error }
`;

/** How long a change of permissions may take on a busy machine. */
const patienceMs = 15_000;

const added = z.object({ bundle: bundleSchema.optional() });

/** A real server with a permissions file of the test's own, for devices over TLS and for anonymous clients in plain text. */
export class PermittedServer implements AsyncDisposable {
  readonly #scratch = scratch();
  readonly #devices = new Map<string, IClientOptions>();
  readonly #args: readonly string[];
  readonly directory: DataDirectory;
  #server: TestServer | undefined;

  private constructor(config: string) {
    this.#args = configured(this.#scratch.path, config);
    this.directory = dataDirectoryAt(join(this.#scratch.path, "data"));
  }

  static async start(permissions: string, config = configuration): Promise<PermittedServer> {
    const server = new PermittedServer(config);
    mkdirSync(server.directory.path, { mode: 0o700 });
    writeFileSync(server.directory.permissions, permissions);
    await server.restart();
    return server;
  }

  /** Stops the server, if it runs, and starts it again on its data. */
  async restart(): Promise<void> {
    await this.stop();
    this.#server = await up(this.#args);
  }

  /** As Ctrl-C does. */
  async stop(): Promise<void> {
    this.#server?.process.signal("SIGTERM");
    await this.#server?.process.ended;
    this.#server = undefined;
  }

  /** Runs `postern up` to its end, where it cannot start. */
  runUp(): Promise<Ended> {
    return postern(["up", ...this.#args]);
  }

  get running(): TestServer {
    assert.ok(this.#server !== undefined);
    return this.#server;
  }

  get tlsUrl(): string {
    return this.running.urls[0] ?? "";
  }

  get plainUrl(): string {
    return this.running.urls[1] ?? "";
  }

  get plain(): Address {
    return { host: "127.0.0.1", port: Number(new URL(this.plainUrl).port) };
  }

  /** Adds a device with a certificate. */
  async addDevice(name: string, roles: readonly string[], groups: readonly string[] = []): Promise<void> {
    const bundle = await this.#add(name, "certificate", roles, groups);
    assert.ok(bundle.certificate !== undefined && bundle.key !== undefined);
    this.#devices.set(name, { ca: bundle.ca, cert: bundle.certificate, key: bundle.key });
  }

  /** Adds a device with a password. @returns its bundle. */
  addPasswordDevice(name: string, roles: readonly string[]): Promise<Bundle> {
    return this.#add(name, "password", roles, []);
  }

  async #add(
    name: string,
    auth: "certificate" | "password",
    roles: readonly string[],
    groups: readonly string[],
  ): Promise<Bundle> {
    const body = { name, tenant: "default", auth: [auth], roles, groups, reuseName: false };
    const { bundle } = await askServer(this.directory, "/", {
      method: "POST",
      path: "/devices/add",
      body,
      answer: added,
    });
    assert.ok(bundle !== undefined);
    return bundle;
  }

  /** The private key of a device's certificate (PEM). */
  keyOf(device: string): string {
    const key = this.#devices.get(device)?.key;
    assert.ok(typeof key === "string");
    return key;
  }

  async setRoles(name: string, roles: readonly string[]): Promise<void> {
    const nothing: readonly string[] = [];
    const changes = { addRoles: nothing, removeRoles: nothing, addGroups: nothing, removeGroups: nothing };
    await askServer(this.directory, "/", {
      method: "POST",
      path: "/devices/set",
      body: { name, roles, ...changes },
      answer: z.unknown(),
    });
  }

  /** Connects as a device. */
  connect(device: string, options: IClientOptions = {}): Promise<TestClient> {
    const credentials = this.#devices.get(device);
    assert.ok(credentials !== undefined);
    return TestClient.connect(this.tlsUrl, { ...credentials, ...options });
  }

  status(): Promise<Status> {
    return askServer(this.directory, "/", { method: "GET", path: "/status", answer: statusSchema });
  }

  /** The security events with these kinds, as objects of text. */
  audited(...kinds: readonly string[]): Readonly<Record<string, string>>[] {
    return readFileSync(join(this.directory.audit, "audit.jsonl"), "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => z.record(z.string(), z.coerce.string()).parse(JSON.parse(line)))
      .filter(({ kind = "" }) => kinds.includes(kind));
  }

  /** Replaces the permissions file as an editor does, and waits until the server has taken note. */
  async permit(text: string): Promise<void> {
    const noted = (): number => this.audited("permissions-loaded", "permissions-broken").length;
    const before = noted();
    // A file that says the same as before is no change.
    const file = this.directory.permissions;
    if (existsSync(file) && readFileSync(file, "utf8") === text) return;
    this.rewrite(text);
    await this.until(() => noted() > before, "the permissions to be read again");
  }

  /** Replaces the permissions file, and waits for nobody. */
  rewrite(text: string): void {
    const { permissions } = this.directory;
    writeFileSync(`${permissions}.new`, text);
    renameSync(`${permissions}.new`, permissions);
  }

  async until(done: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (!done()) {
      assert.ok(performance.now() < deadline, `waited in vain for ${what}`);
      await delay(20);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.process[Symbol.asyncDispose]();
    this.#scratch[Symbol.dispose]();
  }
}

/** A permissions file with these rules for each role, in YAML's flow style. */
export function roles(rules: Readonly<Record<string, readonly string[]>>, more = ""): string {
  const lines = Object.entries(rules).map(
    ([name, list]) => `  ${name}:\n    rules:\n${list.map((rule) => `      - ${rule}\n`).join("")}`,
  );
  return `${more}roles:\n${lines.join("")}`;
}
