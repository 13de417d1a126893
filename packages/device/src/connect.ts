import { readFileSync } from "node:fs";
import { resolve } from "node:path";

import { hasCertificate, parseBundle, type Bundle } from "@postern/core/bundle";
import { errorText } from "@postern/core/errors";
import { isTopicName } from "@postern/mqtt/topics";

import { serverOfBundle, type BundleSource } from "./bundle-server.ts";
import { endedSince, expiredSince, type TlsCredentials } from "./credentials.ts";
import { Device } from "./device.ts";
import { DeviceFileError } from "./errors.ts";
import type { ConnectOptions, StatusOptions } from "./options.ts";
import { OutgoingStore } from "./outgoing-store.ts";
import { sealingOf } from "./sealing/of-bundle.ts";
import type { Sealing } from "./sealing/sealing.ts";
import type { ConnectSettings, WillSettings } from "./settings.ts";

const daySeconds = 86_400;
const mebibyte = 1_048_576;

/** @throws {DeviceFileError}, {BundleError} */
function readBundle(file: string): Bundle {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (thrown) {
    throw new DeviceFileError(`cannot read the bundle ${file}: ${errorText(thrown)}`, { cause: thrown });
  }
  return parseBundle(text, file);
}

/** The credentials of the file as it is now; those that are known when it cannot be used at the moment. */
function latestTls(known: TlsCredentials, source: BundleSource): TlsCredentials {
  if (source.file === undefined) return known;
  try {
    return serverOfBundle(readBundle(source.file), source).tls;
  } catch {
    return known;
  }
}

function statusOf(device: string, status: ConnectOptions["status"]): Required<StatusOptions> | undefined {
  if (status === undefined || status === false) return undefined;
  const given = status === true ? {} : status;
  const topic = given.topic ?? `devices/${device}/status`;
  if (!isTopicName(topic)) throw new TypeError(`"${topic}" is no topic for a status`);
  return { topic, online: given.online ?? "online", offline: given.offline ?? "offline" };
}

function willOf(status: Required<StatusOptions> | undefined): WillSettings | undefined {
  if (status === undefined) return undefined;
  const { topic, offline } = status;
  return { topic, payload: Buffer.from(offline, "utf8"), qos: 1, retain: true, properties: {} };
}

function settingsOf(
  bundle: Bundle,
  source: BundleSource,
  {
    options,
    sealing,
    status,
  }: {
    readonly options: ConnectOptions;
    readonly sealing: Sealing | undefined;
    readonly status: Required<StatusOptions> | undefined;
  },
): ConnectSettings {
  const { clientId = bundle.device, sessionExpirySeconds = daySeconds, receiveMaximum = 64 } = options;
  const server = serverOfBundle(bundle, source);
  const now = Date.now();
  const will = willOf(status);
  return {
    targets: server.targets,
    tls: server.tls,
    latestTls: () => latestTls(server.tls, source),
    expiredSince:
      server.proof === "token" ? endedSince(server.password, now) : expiredSince(server.tls.cert, now),
    bundleProof: server.proof,
    protocolVersion: 5,
    clientId,
    clean: sessionExpirySeconds === 0,
    keepAliveSeconds: options.keepAliveSeconds ?? 60,
    username: server.username,
    password: server.password,
    will: () => (will === undefined || sealing === undefined ? will : sealing.will(will)),
    properties: {
      sessionExpiryInterval: sessionExpirySeconds,
      receiveMaximum,
      maximumPacketSize: options.packetBytesMax ?? mebibyte,
    },
    connectTimeoutMs: options.connectTimeoutMs ?? 15_000,
    knock: server.knock,
    reconnect: true,
    patient: options.offline === true,
    ...(options.staple === undefined ? {} : { staple: options.staple }),
    ...(options.store === undefined ? {} : { outgoing: new OutgoingStore(resolve(options.store)) }),
  };
}

/**
 * Connects a device to its server: knocks where the bundle says so, opens TLS to the server that the bundle names and nobody else, proves
 * who it is, and stays connected until it is closed.
 * @param bundle the path of the file that the server wrote, or what is in it.
 * @throws {DeviceFileError}, {BundleError}, {CredentialsError} before anything is sent; {ConnectionError}, {ServerRefusedError},
 * and the reason of `options.signal`.
 */
export async function connect(bundle: string | Bundle, options: ConnectOptions = {}): Promise<Device> {
  options.signal?.throwIfAborted();
  const given = typeof bundle === "string" ? bundle : options.bundleFile;
  const file = given === undefined ? undefined : resolve(given);
  const known = typeof bundle === "string" ? readBundle(resolve(bundle)) : bundle;
  const source = { name: given ?? `the bundle of ${known.device}`, file, key: options.key };
  const renewable = options.renew !== false && file !== undefined && hasCertificate(known);
  const status = statusOf(known.device, options.status);
  const sealing = await sealingOf(known, source, { seal: options.seal, leavesWill: status !== undefined });
  const device = new Device({
    name: known.device,
    sealing,
    settings: settingsOf(known, source, { options, sealing, status }),
    status,
    renewal: renewable ? { path: file, name: source.name } : undefined,
    options,
  });
  try {
    await device.open();
    return device;
  } catch (thrown) {
    await device.close();
    throw thrown;
  }
}
