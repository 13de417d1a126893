import { randomBytes } from "node:crypto";
import { resolve } from "node:path";

import { serverOfBundle, type Server } from "@postern/device/bundle-server";
import {
  checkCredentials,
  endedSince,
  expiredSince,
  type PreSharedKey,
  type TlsCredentials,
} from "@postern/device/credentials";
import type { ConnectSettings, WillSettings } from "@postern/device/settings";
import { isEncrypted, isLocal, type Target } from "@postern/device/target";
import type { Properties } from "@postern/mqtt/packets";
import { isTopicName } from "@postern/mqtt/topics";

import type { CommandContext } from "../context.ts";
import { UsageError } from "../errors.ts";
import {
  readBundle,
  readPassword,
  readPemFiles,
  readPsk,
  readSecretInput,
  type FilePorts,
} from "./credentials.ts";
import type { ConnectOptions } from "./options.ts";
import type { PlacedProperties } from "./property-options.ts";
import { targetOfUrl } from "./target.ts";
import { commandLineWording } from "./wording.ts";

/** A day: long enough for what --no-clean is used for, short enough that no server fills up with forgotten sessions. */
const sessionExpirySecondsDefault = 86_400;

function bundleSaysIt(option: string): UsageError {
  return new UsageError(`--bundle already says where the server is and whom to trust: leave out --${option}`);
}

/** What a bundle says of where the server is, whom to trust and who we are. */
function serverOfFile(file: string, options: ConnectOptions, ports: FilePorts): Server {
  const other = (
    [
      ["url", "url"],
      ["ca", "ca"],
      ["cert", "cert"],
      ["pskFile", "psk-file"],
    ] as const
  ).find(([name]) => options[name] !== undefined);
  if (other !== undefined) throw bundleSaysIt(other[1]);
  const bundle = readBundle(file, ports);
  const keepsKey = bundle.certificate !== undefined && bundle.key === undefined;
  if (options.key !== undefined && !keepsKey) throw bundleSaysIt("key");
  if (options.key === undefined && keepsKey)
    throw new UsageError(`${file} holds no key, as the device keeps it: name its file with --key`);
  const key = options.key === undefined ? undefined : readSecretInput(options.key, "the key", ports);
  return serverOfBundle(bundle, { name: file, file: resolve(ports.cwd, file), key });
}

function serverOfUrl(url: string, options: ConnectOptions, ports: FilePorts): Server {
  const { target, username } = targetOfUrl(url);
  const tls = readPemFiles(options, ports);
  if (!isEncrypted(target) && (tls.ca ?? tls.cert) !== undefined) {
    throw new UsageError(`--ca, --cert and --key are for mqtts:// and wss://, not for ${target.url}`);
  }
  checkCredentials(tls, "--ca, --cert, --key");
  const psk = pskOf(target, options, ports);
  return { targets: [target], tls: { ...tls, psk }, username, password: undefined, knock: undefined };
}

function pskOf(target: Target, options: ConnectOptions, ports: FilePorts): PreSharedKey | undefined {
  if (options.pskFile === undefined) return undefined;
  if (!isEncrypted(target))
    throw new UsageError(`--psk-file is for mqtts:// and wss://, not for ${target.url}`);
  const other = (["ca", "cert"] as const).find((name) => options[name] !== undefined);
  if (other !== undefined)
    throw new UsageError(
      `--psk-file and --${other} exclude each other: with a pre-shared key nobody has a certificate`,
    );
  return readPsk(options.pskFile, ports);
}

function serverOf(options: ConnectOptions, ports: FilePorts): Server {
  if (options.bundle !== undefined) return serverOfFile(options.bundle, options, ports);
  if (options.url !== undefined) return serverOfUrl(options.url, options, ports);
  throw new UsageError("say which server: --bundle FILE (the file that the server made) or --url URL");
}

function passwordOf(options: ConnectOptions, context: CommandContext, ports: FilePorts): Buffer | undefined {
  if (options.passwordFile !== undefined) return readPassword(options.passwordFile, ports);
  const fromEnvironment = context.env["POSTERN_PASSWORD"];
  return fromEnvironment === undefined || fromEnvironment === "" ? undefined : Buffer.from(fromEnvironment);
}

function willOf(options: ConnectOptions, properties: Properties): WillSettings | undefined {
  const { willTopic: topic, willMessage, willQos, willRetain } = options;
  if (topic === undefined) {
    const stray = willMessage ?? willQos ?? willRetain ?? Object.keys(properties)[0];
    if (stray !== undefined) throw new UsageError("a will needs --will-topic");
    return undefined;
  }
  if (!isTopicName(topic)) throw new UsageError(`--will-topic "${topic}" is not a topic to publish to`);
  const payload = Buffer.from(willMessage ?? "", "utf8");
  return { topic, payload, qos: willQos ?? 0, retain: willRetain === true, properties };
}

/** @see MQTT 3.1 §3.1 for the 23 characters */
function clientIdOf({ clientId, clean, mqttVersion }: ConnectOptions): string {
  if (clientId === undefined) {
    if (!clean) throw new UsageError("--no-clean needs --client-id: the session is found again by it");
    return `postern-${randomBytes(6).toString("hex")}`;
  }
  if (clientId.length === 0 || Buffer.byteLength(clientId) > 65_535) {
    throw new UsageError("--client-id must have 1 to 65,535 bytes");
  }
  if (mqttVersion === 3 && clientId.length > 23) {
    throw new UsageError(`--client-id has ${clientId.length} characters; MQTT 3.1 allows 23`);
  }
  return clientId;
}

function connectProperties(options: ConnectOptions, given: Properties): Properties {
  const expiry = options.sessionExpiry ?? given.sessionExpiryInterval;
  if (options.mqttVersion !== 5) return {};
  if (expiry !== undefined) return { ...given, sessionExpiryInterval: expiry };
  return options.clean ? given : { ...given, sessionExpiryInterval: sessionExpirySecondsDefault };
}

function refuseProperties(options: ConnectOptions, { own, connect, will }: PlacedProperties): void {
  if (options.mqttVersion === 5) return;
  const given = [...Object.keys(own), ...Object.keys(connect), ...Object.keys(will)];
  if (given.length > 0 || options.sessionExpiry !== undefined) {
    throw new UsageError(
      "properties and --session-expiry are MQTT 5: leave them out, or use --mqtt-version 5",
    );
  }
}

/** The credentials of a bundle's file as it is now; those that are known when it cannot be used at the moment, or there is none. */
function latestTls(known: TlsCredentials, options: ConnectOptions, { cwd }: CommandContext): TlsCredentials {
  if (options.bundle === undefined) return known;
  try {
    return serverOfFile(options.bundle, options, { cwd, warn: () => {} }).tls;
  } catch {
    return known;
  }
}

/**
 * Puts the options together and checks them; reads the files they name.
 * @throws {UsageError} (or {BundleError}) before anything is sent.
 */
export function connectSettings(
  options: ConnectOptions,
  placed: PlacedProperties,
  context: CommandContext,
): ConnectSettings {
  const ports: FilePorts = {
    cwd: context.cwd,
    warn: (text) => context.stderr.write(`postern: warning: ${text}\n`),
  };
  refuseProperties(options, placed);
  const server = serverOf(options, ports);
  const username = options.username ?? server.username;
  const password = passwordOf(options, context, ports) ?? server.password;
  if (password !== undefined && username === undefined && options.mqttVersion !== 5) {
    throw new UsageError("a password needs --username before MQTT 5");
  }
  const open = server.targets.find((target) => !isEncrypted(target) && !isLocal(target));
  if (password !== undefined && open !== undefined) {
    ports.warn(`the password goes to ${open.url} unencrypted, for everybody on the way to read`);
  }
  const will = willOf(options, placed.will);
  return {
    targets: server.targets,
    tls: server.tls,
    latestTls: () => latestTls(server.tls, options, context),
    expiredSince:
      server.proof === "token" ? endedSince(password, Date.now()) : expiredSince(server.tls.cert, Date.now()),
    bundleProof: server.proof,
    protocolVersion: options.mqttVersion,
    clientId: clientIdOf(options),
    clean: options.clean,
    keepAliveSeconds: options.keepAlive,
    username,
    password,
    will: () => will,
    properties: connectProperties(options, placed.connect),
    connectTimeoutMs: options.connectTimeout * 1_000,
    reconnect: options.reconnect,
    knock: server.knock,
    wording: commandLineWording,
  };
}
