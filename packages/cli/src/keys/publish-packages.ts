import { setTimeout as delay } from "node:timers/promises";

import { errorText } from "@postern/core/errors";
import { openConnection, type Connection, type Reporter } from "@postern/device/connection";
import { PublishRefusedError, UnsendableError, reasonText } from "@postern/device/errors";

import { successionTopic } from "@postern/seal/groups/succession";

import { connectSettings } from "../client/settings.ts";
import type { CommandContext } from "../context.ts";
import { followDevices, packagesOf, refreshDevices, rotateDue, type ReadyPackage } from "./groups.ts";
import { KeyDirectory } from "./key-directory.ts";
import { saveGroups, serverFiles, writeServerFiles, type ServerFile } from "./server-keys.ts";

/** What a device publishes of its new keys has some kilobytes at the most. */
const successionBytesMax = 16_384;

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

/** What members, and servers that seal for them, are to be given. */
export interface ReadyKeys {
  readonly packages: readonly ReadyPackage[];
  readonly files: readonly ServerFile[];
}

/**
 * Publishes packages as retained messages, one after the other, each acknowledged; then servers that seal are given the keys.
 * @throws {PublishRefusedError | UnsendableError}
 */
export async function publishKeys(
  connection: Connection,
  { packages, files }: ReadyKeys,
  reporter: Reporter,
): Promise<void> {
  for (const each of packages) await connection.guard(publishOne(connection, each));
  writeServerFiles(files, (sentence) => reporter.notice(sentence));
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
    const mend =
      'the role of this device must have the rule { topics: ["$keys/#"], allow: [publish, retain, subscribe] } in permissions.yaml, which files from before sealed payloads do not';
    reject(new PublishRefusedError(`the server refused ${what}: ${reasonText(code)}; ${mend}`, code));
  });
  return promise;
}

/** All devices, at their topics for new keys. */
const successions = successionTopic("+");

/**
 * Listens to what devices publish of new keys, and goes on for as long as the connection is there. What is retained has come when this
 * resolves. A publisher that may not read it learns of new keys from bundles only.
 */
export async function heardOf(
  connection: Connection,
  reporter: Reporter,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const { client } = connection;
  const published = new Map<string, Uint8Array>();
  client.on("message", (topic, payload) => {
    if (payload.length <= successionBytesMax) published.set(topic, payload);
  });
  const subscribe = (): void => {
    client.subscribe(successions, { qos: 1 }, (error) => {
      if (error) reporter.detail(`devices cannot tell of new keys: ${errorText(error)}`);
    });
  };
  subscribe();
  client.on("connect", subscribe);
  const { promise, resolve } = Promise.withResolvers<void>();
  // The server answers in order: with the answer to a second one, the first one's retained messages are there.
  client.subscribe(successions, { qos: 1, rh: 2 }, () => resolve());
  await connection.guard(promise);
  return published;
}

/** The keys of a directory, as they are to be published now; remembers with which bundle. */
export async function readyKeys(
  path: string,
  {
    bundle,
    published,
    reporter,
    nowMs,
  }: {
    readonly bundle?: string;
    readonly reporter: Reporter;
    readonly published: ReadonlyMap<string, Uint8Array>;
    readonly nowMs: number;
  },
): Promise<ReadyKeys> {
  using keys = await KeyDirectory.open(path);
  refreshDevices(keys);
  followDevices(keys, published);
  const packages = packagesOf(keys, nowMs);
  if (bundle !== undefined) keys.state.publisher = bundle;
  saveGroups(keys, nowMs, (sentence) => reporter.notice(sentence));
  return { packages, files: serverFiles(keys, "groupKeys", nowMs) };
}

/** What members are to have, as a text: packages are due when it has changed. Rotates what is due, and looks at the members' certificates. */
async function wantedIn(
  path: string,
  {
    published,
    nowMs,
    reporter,
  }: {
    readonly published: ReadonlyMap<string, Uint8Array>;
    readonly nowMs: number;
    readonly reporter: Reporter;
  },
): Promise<string> {
  using keys = await KeyDirectory.open(path);
  const renewed = [...refreshDevices(keys), ...followDevices(keys, published)];
  const rotated = rotateDue(keys, { leadMs: leadMsDefault, nowMs });
  for (const group of rotated) reporter.notice(`the group "${group}" has a new key`);
  for (const device of renewed) reporter.notice(`"${device}" has a new certificate`);
  if (renewed.length + rotated.length > 0) saveGroups(keys, nowMs, (sentence) => reporter.notice(sentence));
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
  const published = await heardOf(connection, reporter);
  let done = "";
  // A server that was away may have lost what it had retained.
  connection.client.on("connect", () => {
    done = "";
  });
  while (!signal.aborted) {
    const wanted = await wantedIn(path, { published, nowMs: Date.now(), reporter });
    if (wanted !== done) {
      const ready = await readyKeys(path, { published, reporter, nowMs: Date.now() });
      await publishKeys(connection, ready, reporter);
      const { packages } = ready;
      reporter.notice(
        `published the keys of ${packages.length} ${packages.length === 1 ? "device" : "devices"}`,
      );
      done = wanted;
    }
    await connection.guard(delay(everyMs, undefined, { signal })).catch((thrown: unknown) => {
      if (!signal.aborted) throw thrown;
    });
  }
}
