import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIPv4 } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

import type { Bundle } from "@postern/core/bundle";
import { errorText } from "@postern/core/errors";
import { parseIpAddress, type IpAddress } from "@postern/knock/ip-address";
import { certBindOf } from "@postern/knock/spa1/cert-bind";
import { clocklessEpoch, hintEpoch, knockKeys, type KnockKeys } from "@postern/knock/spa1/keys";
import { sealPacket, type KnockAction } from "@postern/knock/spa1/packet";

import { ConnectionError, DeviceFileError } from "./errors.ts";
import { readIfThere, replacePrivateFile } from "./private-file.ts";
import { PublicAddress } from "./public-address.ts";

/** A name that stands for more addresses is knocked at so many of them. */
const addressesMax = 4;

/** All that is needed to knock. */
export interface KnockSettings {
  readonly gate: string;
  readonly port: number;
  readonly keys: KnockKeys;
  readonly service: number;
  readonly address: "own" | "seen";
  /** A file that keeps the counter of a device without a clock; `undefined` for one that has a clock. */
  readonly counterFile: string | undefined;
  readonly certBind: Buffer | undefined;
  /** What a device behind NAT knows of its address. */
  readonly publicAddress: PublicAddress;
}

export interface KnockRequest {
  readonly action: KnockAction;
  /** 0 for what the gate gives. */
  readonly windowSeconds: number;
  /** How often it was tried in vain: a device that knows a public address names that one and its own in turns. */
  readonly round?: number;
  /** The address that this device is seen from, as its user says; remembered. */
  readonly seenFrom?: IpAddress | undefined;
}

/** Where packets went. */
export interface Knocked {
  readonly to: string;
  /** The address they are for; `undefined` for the one that the gate sees. */
  readonly from: IpAddress | undefined;
}

/**
 * What a bundle says of knocking; `undefined` when its server does not ask for it. `file` is the bundle's.
 * @throws {DeviceFileError} for a device without a clock whose bundle is not in a file, as it has nowhere to count.
 */
export function knockSettings(bundle: Bundle, file: string | undefined): KnockSettings | undefined {
  const { knock, certificate } = bundle;
  if (knock === undefined) return undefined;
  if (knock.clockless === true && file === undefined)
    throw new DeviceFileError(
      "a device without a clock counts its knocks in a file beside its bundle: name the bundle's path",
    );
  return {
    gate: knock.gate,
    port: knock.port,
    keys: knockKeys(Buffer.from(knock.secret, "base64")),
    service: knock.service,
    address: knock.address,
    counterFile: knock.clockless === true ? `${file}.counter` : undefined,
    certBind: certificate === undefined ? undefined : Buffer.from(certBindOf(certificate), "hex"),
    publicAddress: new PublicAddress(file),
  };
}

/** How somebody who has no bundle yet knocks at a hidden enrolment server. */
export interface EnrolmentKnock {
  readonly gate: string;
  readonly port: number;
  /** 64 bytes in base64. */
  readonly secret: string;
  readonly service: number;
}

/** Knocks for an enrolment: nobody knows yet which address the device is seen from. */
export function enrolmentSettings({ gate, port, secret, service }: EnrolmentKnock): KnockSettings {
  return {
    gate,
    port,
    keys: knockKeys(Buffer.from(secret, "base64")),
    service,
    address: "seen",
    counterFile: undefined,
    certBind: undefined,
    publicAddress: new PublicAddress(undefined),
  };
}

/** How a device knocks before it renews its certificate; `undefined` where the enrolment server is not hidden. `file` is the bundle's. */
export function renewalSettings(bundle: Bundle, file: string | undefined): KnockSettings | undefined {
  const service = bundle.knock?.enrolment;
  const settings = service === undefined ? undefined : knockSettings(bundle, file);
  // First it shows the old certificate, then the new one.
  return settings === undefined || service === undefined
    ? undefined
    : { ...settings, service, certBind: undefined };
}

let lastCounter = 0;

/** Grows with the clock, and by one where the clock does not; a device without one counts in a file. */
function nextCounter(file: string | undefined): number {
  if (file === undefined) {
    lastCounter = Math.max(lastCounter + 1, Date.now());
    return lastCounter;
  }
  const before = Number(readIfThere(file) ?? 0);
  const next = (Number.isSafeInteger(before) ? before : 0) + 1;
  try {
    replacePrivateFile(file, `${next}\n`);
  } catch (thrown) {
    throw new DeviceFileError(
      `a device without a clock counts its knocks in ${file}, which cannot be written: ${errorText(thrown)}`,
      { cause: thrown },
    );
  }
  return next;
}

/**
 * Sends one packet to each address of the host. There is never an answer: whether the door is open shows in connecting.
 * @throws {ConnectionError} when the name cannot be resolved or there is no way there.
 */
export async function knock(
  host: string,
  settings: KnockSettings,
  request: KnockRequest,
): Promise<Knocked[]> {
  let addresses: readonly { readonly address: string; readonly family: number }[];
  try {
    addresses = await lookup(host, { all: true });
  } catch (thrown) {
    throw new ConnectionError(`the server's name ${host} cannot be resolved: ${errorText(thrown)}`, {
      retry: true,
      cause: thrown,
    });
  }
  const results = await Promise.allSettled(
    addresses
      .slice(0, addressesMax)
      .map(({ address, family }) => knockAt(address, family === 6 ? "udp6" : "udp4", settings, request)),
  );
  const knocked = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const [failure] = results.flatMap((result): unknown[] =>
    result.status === "rejected" ? [result.reason] : [],
  );
  if (knocked.length === 0) {
    if (failure instanceof DeviceFileError) throw failure;
    throw new ConnectionError(`no knock packet can be sent to ${host}: ${errorText(failure)}`, {
      retry: true,
      cause: failure,
    });
  }
  return knocked;
}

async function knockAt(
  to: string,
  family: "udp4" | "udp6",
  settings: KnockSettings,
  { action, windowSeconds, round = 0, seenFrom }: KnockRequest,
): Promise<Knocked> {
  const { gate, port, keys, service, address, counterFile, certBind, publicAddress } = settings;
  const socket = createSocket(family);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.connect(port, to, resolve);
    });
    // What the system would send from: without NAT it is what the gate sees.
    const own = address === "own" ? parseIpAddress(socket.address().address) : undefined;
    if (own !== undefined && seenFrom !== undefined && isIPv4(own) === isIPv4(seenFrom))
      publicAddress.learn(own, seenFrom);
    const known = own === undefined ? undefined : publicAddress.of(own);
    const from = round % 2 === 0 ? (known ?? own) : own;
    const clockless = counterFile !== undefined;
    const timestampMs = clockless ? 0 : Date.now();
    const packet = sealPacket(
      {
        action,
        clockless,
        timestampMs,
        counter: nextCounter(counterFile),
        address: from,
        sourcePort: 0,
        serviceId: service,
        windowSeconds,
        certBind,
      },
      {
        keys,
        gateId: gate,
        epoch: clockless ? clocklessEpoch : hintEpoch(timestampMs),
        nonce: randomBytes(12),
      },
    );
    await new Promise<void>((resolve, reject) => {
      socket.send(packet, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
    return { to, from };
  } finally {
    socket.close();
  }
}

/** How long each try to connect after a knock may take; the last but one leaves it to the system's own patience for a second. */
export const synRetriesMs = [20, 50, 100, 200, 1_000] as const;

/** Waits a while before knocking again. */
export function beforeKnockingAgain(signal: AbortSignal): Promise<void> {
  return delay(500, undefined, { signal });
}
