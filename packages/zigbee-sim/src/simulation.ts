import { type Eui64 } from "@postern/zigbee/eui64";
import { type CbkeSecrets } from "@postern/zigbee/key-establishment/cbke-harvester";
import { CertificateAuthority } from "@postern/zigbee/key-establishment/certificate-authority";
import { type JoiningPolicy } from "@postern/zigbee/key-life/joining-device";
import { type TrustCentrePolicy } from "@postern/zigbee/key-life/trust-centre";
import { installCodeCrc, installCodeKey } from "@postern/zigbee/security/install-code";
import { joined } from "@postern/zigbee/security/mmo-hash";

import { EventQueue } from "./event-queue.ts";
import { type Identity } from "./node/certificate-exchange.ts";
import { Device, type World } from "./node/device.ts";
import { Medium, type Transmission } from "./radio/medium.ts";
import { Random } from "./random.ts";
import { type NodePlan, type Scenario } from "./scenario.ts";
import { Truth } from "./truth.ts";

/** A frame as the sniffer of the simulation recorded it. */
export interface RecordedFrame {
  readonly timeUs: number;
  /** Without check sequence. */
  readonly bytes: Uint8Array;
  readonly damaged: boolean;
  /** dBm, and the channel, where the sniffer stands at a place. */
  readonly rssi?: number;
  readonly channel?: number;
}

/** A key that somebody in the network has, for those who shall read the recording. */
export interface SimulatedKey {
  readonly name: string;
  readonly use: "network" | "link" | "master";
  readonly bytes: Uint8Array;
}

const wellKnownLinkKey = new TextEncoder().encode("ZigBeeAlliance09");
/** What test devices of distributed networks have in its place. */
const distributedLinkKey = Uint8Array.from({ length: 16 }, (_, index) => 0xd0 + index);

/** A simulated network that can be run, looked into and disturbed. */
export class Simulation {
  readonly scenario: Scenario;
  readonly queue = new EventQueue();
  readonly random: Random;
  readonly medium: Medium;
  readonly truth: Truth;
  readonly devices: readonly Device[];
  readonly frames: RecordedFrame[] = [];
  readonly #keys: SimulatedKey[] = [];

  constructor(scenario: Scenario, seed: number) {
    this.scenario = scenario;
    this.random = new Random(`postern ${seed}`);
    const { lossShare, shadowDb } = scenario;
    this.medium = new Medium(this.queue, this.random.derive("air"), { lossShare, shadowDb });
    this.truth = new Truth(() => this.queue.nowUs);
    this.medium.onTransmission = (transmission) => this.#record(transmission);
    const world: World = {
      scenario,
      queue: this.queue,
      medium: this.medium,
      random: this.random,
      truth: this.truth,
      tree: scenario.topology === "tree" ? { childrenMax: 6, routersMax: 3, depthMax: 4 } : undefined,
      hub: { short: 0 },
    };
    const linkKeys = this.#linkKeys();
    const masterKeys = this.#masterKeys();
    const identity = this.#identities();
    this.devices = scenario.nodes.map((plan) => {
      const joining = this.#joiningPolicy(plan, linkKeys, masterKeys);
      const centre = this.#centrePolicy(plan, linkKeys, masterKeys);
      return new Device(plan, world, { joining, centre, identity: identity?.(plan) });
    });
    for (const device of this.devices) {
      const { startSeconds, stopSeconds } = device.plan;
      this.queue.after(startSeconds * 1_000_000, () => device.start());
      if (stopSeconds !== undefined) {
        this.queue.after(stopSeconds * 1_000_000, () => {
          device.mac.power(false);
          device.note("is switched off");
        });
      }
    }
    for (const source of scenario.interference) this.#interfere(source);
  }

  /** Lets time pass until the end of the scenario, or until `seconds`. */
  run(seconds: number = this.scenario.seconds): void {
    this.queue.run(Math.round(seconds * 1_000_000));
    // Frames are recorded when they end, and sniffers give the time when they begin.
    this.frames.sort((a, b) => a.timeUs - b.timeUs);
  }

  device(name: string): Device {
    const found = this.devices.find(({ plan }) => plan.name === name);
    if (found === undefined) throw new RangeError(`there is no device ${name} in the scenario`);
    return found;
  }

  get coordinator(): Device {
    const found = this.devices.find(({ plan }) => plan.kind === "coordinator");
    if (found === undefined) throw new RangeError("the scenario has no coordinator");
    return found;
  }

  /** All keys that the network has used until now. */
  get keys(): readonly SimulatedKey[] {
    const keys = [...this.#keys];
    const add = (name: string, use: SimulatedKey["use"], bytes: Uint8Array | undefined): void => {
      const isNew = bytes !== undefined && !keys.some((key) => isSame(key.bytes, bytes) && key.use === use);
      if (isNew) keys.push({ name, use, bytes });
    };
    for (const { plan, networkKeys, joiner, trustCentre } of this.devices) {
      const { active } = networkKeys;
      for (const step of [0, 1, 255]) {
        const key = active === undefined ? undefined : networkKeys.find((active.sequence + step) & 0xff);
        add(`network key ${key?.sequence ?? 0}`, "network", key?.bytes);
      }
      add(`link key of ${plan.name}`, "link", joiner.linkKey);
      for (const known of trustCentre?.devices ?? []) {
        add(`link key of ${known.address}`, "link", known.linkKey);
        add(`issued link key of ${known.address}`, "link", known.issuedKey);
      }
    }
    return keys;
  }

  #record(transmission: Transmission): void {
    const { sniffer } = this.scenario;
    const { bytes, startUs } = transmission;
    if (bytes === undefined) return;
    if (sniffer === "everywhere") {
      this.frames.push({ timeUs: startUs, bytes, damaged: false });
      return;
    }
    // A sniffer stays on the channel that it was set to.
    if (transmission.channel !== this.scenario.channel) return;
    const random = this.random.derive(`sniffer ${startUs} ${transmission.sender}`);
    const at = { place: sniffer, name: "sniffer" };
    const { rssi, noticed, whole } = this.medium.reception(transmission, at, random);
    if (!noticed) return;
    const heard = whole
      ? bytes
      : bytes.map((byte) => (random.below(8) === 0 ? byte ^ random.below(256) : byte));
    const { channel } = transmission;
    this.frames.push({ timeUs: startUs, bytes: heard, damaged: !whole, rssi: Math.round(rssi), channel });
  }

  #interfere(source: Scenario["interference"][number]): void {
    const random = this.random.derive(`interference ${source.x} ${source.y}`);
    const next = (): void => {
      const { channel, powerDbm, burstUs } = source;
      const sender = `interference ${source.x} ${source.y}`;
      this.medium.noise({ place: source, channel, powerDbm, durationUs: burstUs, sender });
      this.queue.after(burstUs + random.exponential(source.pauseUs), next);
    };
    this.queue.after(random.exponential(source.pauseUs), next);
  }

  #linkKeys(): ReadonlyMap<Eui64, Uint8Array> {
    const keys = new Map<Eui64, Uint8Array>();
    const { linkKeys } = this.scenario.security;
    if (linkKeys === "none") return keys;
    for (const { address, name } of this.scenario.nodes) {
      const key = linkKeys === "well-known" ? this.#wellKnownKey : this.#installCodeKey(name);
      keys.set(address, key);
      if (linkKeys === "install-code") {
        this.#keys.push({ name: `install code of ${name}`, use: "link", bytes: key });
      }
    }
    return keys;
  }

  get #wellKnownKey(): Uint8Array {
    return this.scenario.security.model === "distributed" ? distributedLinkKey : wellKnownLinkKey;
  }

  #installCodeKey(name: string): Uint8Array {
    const code = this.random.derive(`install code ${name}`).bytes(16);
    const key = installCodeKey(joined(code, installCodeCrc(code)));
    if (key === undefined) throw new TypeError("an install code of 16 bytes with its CRC has a key");
    return key;
  }

  #masterKeys(): ReadonlyMap<Eui64, Uint8Array> {
    const keys = new Map<Eui64, Uint8Array>();
    if (!this.scenario.security.masterKeys) return keys;
    for (const { address, name } of this.scenario.nodes) {
      const bytes = this.random.derive(`master key ${name}`).bytes(16);
      keys.set(address, bytes);
      this.#keys.push({ name: `master key of ${name}`, use: "master", bytes });
    }
    return keys;
  }

  /** What gives each device its certificate; `undefined`: there are none. */
  #identities(): ((plan: NodePlan) => Identity) | undefined {
    if (!this.scenario.security.certificates) return undefined;
    const random = this.random.derive("certificate authority");
    const authority = new CertificateAuthority(Buffer.from("simulate"), (count) => random.bytes(count));
    return ({ address }) => ({ ...authority.issue(address), authorityKey: authority.publicKey });
  }

  /** What opens the exchanges of certificates in the recording. Secrets: of a simulation, of nobody else. */
  get certificateSecrets(): readonly CbkeSecrets[] {
    const secrets = this.devices.map(({ certificates }) => certificates?.secrets);
    return secrets.filter((one) => one !== undefined).filter((one) => one.ephemeralPrivateKeys.length > 0);
  }

  #joiningPolicy(
    plan: NodePlan,
    linkKeys: ReadonlyMap<Eui64, Uint8Array>,
    masterKeys: ReadonlyMap<Eui64, Uint8Array>,
  ): JoiningPolicy {
    const { security } = this.scenario;
    return {
      linkKey: linkKeys.get(plan.address),
      masterKey: masterKeys.get(plan.address),
      acceptsClearKey: security.mode === "residential",
      // There is nobody to ask where every router hands out the key.
      requestsLinkKey: security.issuesLinkKeys && !security.certificates && security.model === "centralized",
      authenticationUs: security.authenticationSeconds * 1_000_000,
    };
  }

  #centrePolicy(
    plan: NodePlan,
    linkKeys: ReadonlyMap<Eui64, Uint8Array>,
    masterKeys: ReadonlyMap<Eui64, Uint8Array>,
  ): TrustCentrePolicy | undefined {
    const { security, nodes } = this.scenario;
    const isDistributed = security.model === "distributed" && plan.kind === "router";
    if (plan.kind !== "coordinator" && !isDistributed) return undefined;
    return {
      model: security.model,
      mode: security.mode,
      preconfigured:
        security.linkKeys === "none"
          ? { kind: "none" }
          : security.linkKeys === "well-known"
            ? { kind: "global", key: this.#wellKnownKey }
            : { kind: "unique", keys: linkKeys },
      masterKeys: security.model === "centralized" ? masterKeys : new Map(),
      allowed: security.onlyAllowed ? new Set(nodes.map(({ address }) => address)) : undefined,
      unsecuredRejoin: security.unsecuredRejoin,
      oneJoinForEachKey: security.oneJoinForEachKey,
      issuesLinkKeys: security.issuesLinkKeys && security.model === "centralized",
      authenticationUs: security.authenticationSeconds * 1_000_000,
      devicesMax: security.devicesMax,
    };
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
