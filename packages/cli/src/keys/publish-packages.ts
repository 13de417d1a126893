import { setTimeout as delay } from "node:timers/promises";

import { errorText } from "@postern/core/errors";
import { openConnection, type Connection, type Reporter } from "@postern/device/connection";
import { PublishRefusedError, UnsendableError, reasonText } from "@postern/device/errors";

import { connectSettings } from "../client/settings.ts";
import type { CommandContext } from "../context.ts";
import { packagesOf, refreshDevices, rotateDue, saveGroups, type ReadyPackage } from "./groups.ts";
import { KeyDirectory } from "./key-directory.ts";

/** A new key is in the hands of members this long before it is used. */
export const leadMsDefault = 10_000;

export interface PublishingOptions {
  /** The bundle to publish with, and the file of its key where the bundle has none. */
  readonly bundle: string;
  readonly key?: string | undefined;
}

/** Opens a connection for packages. @throws what a connection fails with. */
export function connect(
  options: PublishingOptions,
  {
    context,
    reporter,
    stays,
  }: { readonly context: CommandContext; readonly reporter: Reporter; readonly stays: boolean },
): Promise<Connection> {
  const { bundle, key } = options;
  const settings = connectSettings(
    {
      bundle,
      ...(key === undefined ? {} : { key }),
      clean: true,
      keepAlive: 60,
      mqttVersion: 5,
      connectTimeout: 15,
      reconnect: stays,
    },
    { own: {}, connect: {}, will: {} },
    context,
  );
  return openConnection(settings, { reporter, signal: context.interruption() });
}

/** Publishes packages as retained messages, one after the other, each acknowledged. @throws {PublishRefusedError | UnsendableError} */
export async function publishPackages(
  connection: Connection,
  packages: readonly ReadyPackage[],
): Promise<void> {
  for (const each of packages) await connection.guard(publishOne(connection, each));
}

function publishOne({ client }: Connection, { device, topic, payload }: ReadyPackage): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const options = { qos: 1, retain: true, properties: { contentType: "application/cose" } } as const;
  client.publish(topic, payload, options, (error) => {
    if (!(error instanceof Error)) return resolve();
    const code = "code" in error && typeof error.code === "number" ? error.code : undefined;
    const what = `the keys of "${device}" (${topic})`;
    if (code === undefined) {
      reject(new UnsendableError(`cannot send ${what}: ${errorText(error)}`, { cause: error }));
      return;
    }
    const mend = "a role may publish and retain $keys/# where permissions.yaml says so";
    reject(new PublishRefusedError(`the server refused ${what}: ${reasonText(code)}; ${mend}`, code));
  });
  return promise;
}

/** The packages of a directory, as they are to be published now; remembers with which bundle. */
export async function readyPackages(
  path: string,
  { bundle, nowMs }: { readonly bundle?: string; readonly nowMs: number },
): Promise<readonly ReadyPackage[]> {
  using keys = await KeyDirectory.open(path);
  refreshDevices(keys);
  const packages = packagesOf(keys, nowMs);
  if (bundle !== undefined) keys.state.publisher = bundle;
  saveGroups(keys, nowMs);
  return packages;
}

/** What members are to have, as a text: packages are due when it has changed. Rotates what is due, and looks at the members' certificates. */
async function wantedIn(
  path: string,
  { nowMs, reporter }: { readonly nowMs: number; readonly reporter: Reporter },
): Promise<string> {
  using keys = await KeyDirectory.open(path);
  const renewed = refreshDevices(keys);
  const rotated = rotateDue(keys, { leadMs: leadMsDefault, nowMs });
  for (const group of rotated) reporter.notice(`the group "${group}" has a new key`);
  for (const device of renewed) reporter.notice(`"${device}" has a new certificate`);
  if (renewed.length + rotated.length > 0) saveGroups(keys, nowMs);
  return JSON.stringify([keys.state.groups, keys.state.devices]);
}

/** Publishes when something has changed or a key is due, until it is interrupted. */
export async function keepPublished(
  connection: Connection,
  path: string,
  {
    everyMs,
    reporter,
    signal,
  }: { readonly everyMs: number; readonly reporter: Reporter; readonly signal: AbortSignal },
): Promise<void> {
  let published = "";
  while (!signal.aborted) {
    const wanted = await wantedIn(path, { nowMs: Date.now(), reporter });
    if (wanted !== published) {
      const packages = await readyPackages(path, { nowMs: Date.now() });
      await publishPackages(connection, packages);
      reporter.notice(
        `published the keys of ${packages.length} ${packages.length === 1 ? "device" : "devices"}`,
      );
      published = wanted;
    }
    await connection.guard(delay(everyMs, undefined, { signal })).catch((thrown: unknown) => {
      if (!signal.aborted) throw thrown;
    });
  }
}
