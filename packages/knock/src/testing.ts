import { createCipheriv, createHash, createHmac } from "node:crypto";

import { keyAndIv, strippedPrefix } from "./fwknop/cipher.ts";
import { fwknopDigests, unpadded, type FwknopDigest } from "./fwknop/digests.ts";
import type { FwknopStanza, PacketMemory } from "./fwknop/verifier.ts";
import { parseIpAddress, type IpAddress } from "./ip-address.ts";
import { deriveKnockSecret, hintEpoch, knockKeys } from "./spa1/keys.ts";
import { sealPacket, type SealOptions, type Spa1Request } from "./spa1/packet.ts";
import type { ReplayState } from "./spa1/replay-window.ts";
import {
  Spa1Verifier,
  type CounterMemory,
  type KnockPolicy,
  type KnockingDevice,
  type Spa1Options,
} from "./spa1/verifier.ts";

/** The address, which must be one. */
export function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new RangeError(`${text} is no IP address`);
  return address;
}

/** What the test vector of SPA1 is made of. */
export const vector = {
  master: Buffer.alloc(32, 0x11),
  owner: { tenant: "tenant-a", device: "dev-1", keyVersion: 1 },
  gateId: "gate-0001",
  nonce: Buffer.from("000102030405060708090a0b", "hex"),
  nowMs: 1_795_418_364_000,
  request: {
    action: "open",
    clockless: false,
    timestampMs: 1_795_418_364_000,
    counter: 42,
    address: ip("10.9.0.2"),
    sourcePort: 0,
    serviceId: 1,
    windowSeconds: 30,
    certBind: Buffer.from("a1b2c3d4e5f6", "hex"),
  },
} as const;

export function vectorKeys() {
  return knockKeys(deriveKnockSecret(vector.master, vector.owner));
}

/** A packet like the vector's, with these differences. */
export function packet(request: Partial<Spa1Request> = {}, options: Partial<SealOptions> = {}): Buffer {
  const whole = { ...vector.request, ...request };
  const epoch = hintEpoch(whole.timestampMs);
  return sealPacket(whole, {
    keys: vectorKeys(),
    gateId: vector.gateId,
    epoch,
    nonce: vector.nonce,
    ...options,
  });
}

/** Counters in memory. */
export class MemoryCounters implements CounterMemory {
  /** Packets that were made before may be forgotten. */
  forgottenUntilMs = -Infinity;
  readonly states = new Map<string, ReplayState>();

  get(device: string, keyVersion: number): ReplayState | undefined {
    return this.states.get(`${device}|${keyVersion}`);
  }

  put(device: string, keyVersion: number, state: ReplayState): void {
    this.states.set(`${device}|${keyVersion}`, state);
  }

  mayHaveForgotten(madeAtMs: number): boolean {
    return madeAtMs <= this.forgottenUntilMs;
  }
}

export function knockingDevice(
  changes: Partial<KnockingDevice> = {},
  policy: Partial<KnockPolicy> = {},
): KnockingDevice {
  return {
    name: vector.owner.device,
    tenant: vector.owner.tenant,
    keys: vectorKeys(),
    keyVersion: 1,
    clockless: false,
    policy: { services: undefined, roaming: false, addresses: undefined, ...policy },
    ...changes,
  };
}

/** A verifier that knows these devices (the vector's one when not given), with its hints made. */
export function verifierOf(
  devices: readonly KnockingDevice[] = [knockingDevice()],
  options: Partial<Spa1Options> = {},
): Spa1Verifier {
  const verifier = new Spa1Verifier(
    {
      gateId: vector.gateId,
      counters: new MemoryCounters(),
      services: new Map([
        [1, [8883]],
        [2, [8883, 8884]],
      ]),
      countersLostAtMs: undefined,
      windowSecondsDefault: 10,
      windowSecondsMax: 300,
      disguisedPerSecondMax: 1000,
      ...options,
    },
    vector.nowMs,
  );
  for (const device of devices) verifier.table.set(device);
  while (verifier.table.step(1000));
  return verifier;
}

/** Where the vector's packet comes from. */
export const source = { address: vector.request.address, port: 40_000 };

/** Packets in memory, up to a number of them. */
export class MemoryPackets implements PacketMemory {
  readonly digests = new Set<string>();
  readonly #max: number;

  constructor(max = 1000) {
    this.#max = max;
  }

  has(digest: string): boolean {
    return this.digests.has(digest);
  }

  add(digest: string): boolean {
    if (this.digests.size >= this.#max) return false;
    this.digests.add(digest);
    return true;
  }
}

/** The keys of the deterministic fwknop packet, and what may be done with them. */
export function fwknopStanza(changes: Partial<FwknopStanza> = {}): FwknopStanza {
  return {
    name: "fwknop-client",
    key: Buffer.from("correct horse"),
    hmacKey: Buffer.from("battery staple"),
    hmacDigest: "sha256",
    ports: new Set([8883]),
    roaming: false,
    username: undefined,
    weakDigests: false,
    ...changes,
  };
}

export interface FwknopPacket {
  readonly type?: string;
  readonly message?: string;
  /** Fields between message and digest, as they are to stand there. */
  readonly more?: readonly string[];
  readonly username?: string;
  readonly seconds?: string;
  readonly version?: string;
  readonly digest?: FwknopDigest;
  /** Everything before the digest, instead of the fields above. */
  readonly plain?: string;
}

function encoded(text: string): string {
  return unpadded(Buffer.from(text));
}

/** A packet as the fwknop client would make it, or would not. */
export function fwknopPacket(fields: FwknopPacket = {}, stanza: FwknopStanza = fwknopStanza()): Buffer {
  const { type = "1", message = "10.9.0.2,tcp/8883", more = [], username = "iot" } = fields;
  const { seconds = `${vector.nowMs / 1000}`, version = "3.0.0", digest = "sha256" } = fields;
  const covered =
    fields.plain ??
    ["1234567890123456", encoded(username), seconds, version, type, encoded(message), ...more].join(":");
  const plain = `${covered}:${unpadded(createHash(fwknopDigests[digest].hash).update(covered).digest())}`;
  const salt = Buffer.from("0102030405060708", "hex");
  const { key, iv } = keyAndIv(stanza.key, salt);
  const cipher = createCipheriv("aes-256-cbc", key, iv);
  const bytes = Buffer.concat([Buffer.from("Salted__"), salt, cipher.update(plain), cipher.final()]);
  const text = unpadded(bytes);
  const hmac = createHmac(fwknopDigests[stanza.hmacDigest].hash, stanza.hmacKey).update(text).digest();
  return Buffer.from(text.slice(strippedPrefix.length) + unpadded(hmac));
}
