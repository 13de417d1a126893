import { createSecretKey } from "node:crypto";

import type { IpAddress } from "../ip-address.ts";
import { refused, windowSeconds, type KnockSource, type Verdict, type WindowLimits } from "../verdict.ts";
import { HintTable, type HintedDevice } from "./hint-table.ts";
import { openPacket, packetBytes, type Spa1Request } from "./packet.ts";
import { acceptCounter, judgeCounter, type ReplayState } from "./replay-window.ts";

/** How far a packet's clock may be from the gate's. */
export const clockSkewMs = 60_000;

/** What a device may ask for. */
export interface KnockPolicy {
  /** The services it may ask for; `undefined` for all. */
  readonly services: ReadonlySet<number> | undefined;
  /** Whether its packets may leave open which address they are for: then it is the one they come from. */
  readonly roaming: boolean;
  /** The only addresses it may knock from; `undefined` for any. */
  readonly addresses: ReadonlySet<IpAddress> | undefined;
}

/** A device that may knock. */
export interface KnockingDevice extends HintedDevice {
  readonly tenant: string;
  readonly keyVersion: number;
  /** May be replaced at any time. */
  policy: KnockPolicy;
}

/** Remembers, across restarts, which counters were accepted. What is put counts for this process at once. */
export interface CounterMemory {
  get(device: string, keyVersion: number): ReplayState | undefined;
  put(device: string, keyVersion: number, state: ReplayState): void;
  /** Whether it may not know of a packet that was made then and accepted: the machine stopped before the disk had it. */
  mayHaveForgotten(madeAtMs: number): boolean;
}

export interface Spa1Options extends WindowLimits {
  readonly gateId: string;
  readonly counters: CounterMemory;
  /** Ports of each service. */
  readonly services: ReadonlyMap<number, readonly number[]>;
  /**
   * When the memory of accepted counters was found lost, ms since 1970; `undefined` while it is whole. Of devices that
   * it does not know, nothing that was made before or within the allowed skew after is accepted, and nothing without a clock.
   */
  readonly countersLostAtMs: number | undefined;
  /** Refusals of unknown devices in a second that are made to cost what a refusal of a known one costs. */
  readonly disguisedPerSecondMax: number;
}

/**
 * Judges SPA1 packets. Refusing a packet of an unknown device takes the work of refusing a wrong key, so that time does not
 * tell which devices there are; in a flood that would be a gift to the attacker, so that it is done for so many a second only.
 */
export class Spa1Verifier {
  readonly table: HintTable<KnockingDevice>;
  readonly #options: Spa1Options;
  readonly #decoy = createSecretKey(Buffer.alloc(32));
  #disguisedSecond = 0;
  #disguisedCount = 0;

  constructor(options: Spa1Options, nowMs: number) {
    this.table = new HintTable(nowMs);
    this.#options = options;
  }

  /**
   * Judges one datagram. An accepted packet's counter is in the memory when this returns; the memory must be sure of it
   * before anything is opened. Never throws, whatever the bytes.
   */
  verify(packet: Uint8Array, source: KnockSource, nowMs: number): Verdict {
    if (packet.length !== packetBytes) return refused("malformed");
    const device = this.table.find(packet);
    if (device === undefined) {
      if (this.#mayDisguise(nowMs)) openPacket(packet, this.#decoy, this.#options.gateId);
      return refused("unknown-device");
    }
    const opened = openPacket(packet, device.keys.encryption, this.#options.gateId);
    switch (opened.kind) {
      case "forged":
        return refused("wrong-key");
      case "malformed":
        return refused("malformed", device.name);
      case "value":
        return this.#judge(device, opened.request, source, nowMs);
    }
    return opened satisfies never;
  }

  #mayDisguise(nowMs: number): boolean {
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#disguisedSecond) {
      this.#disguisedSecond = second;
      this.#disguisedCount = 0;
    }
    return this.#disguisedCount++ < this.#options.disguisedPerSecondMax;
  }

  #judge(device: KnockingDevice, request: Spa1Request, source: KnockSource, nowMs: number): Verdict {
    const { name, keyVersion, policy } = device;
    const { counters, services, countersLostAtMs } = this.#options;
    if (request.clockless && !device.clockless) return refused("clock-required", name);
    if (!request.clockless && Math.abs(nowMs - request.timestampMs) > clockSkewMs) {
      return refused("stale", name);
    }
    const state = counters.get(name, keyVersion);
    const counter = judgeCounter(state, request.counter);
    if (counter !== "fresh") return refused(counter, name);
    // One without a clock was on the disk before anything was opened for it.
    if (!request.clockless && counters.mayHaveForgotten(request.timestampMs)) return refused("unsure", name);
    if (state === undefined && countersLostAtMs !== undefined) {
      if (request.clockless || request.timestampMs <= countersLostAtMs + clockSkewMs) {
        return refused("counters-lost", name);
      }
    }
    // Without a clock, a captured packet is as good as new until the next one arrives: at least nobody else may use it.
    if (request.address === undefined && (!policy.roaming || request.clockless)) {
      return refused("source-required", name);
    }
    if (request.address !== undefined && request.address !== source.address) {
      return refused("source-mismatch", name);
    }
    if (policy.addresses?.has(source.address) === false) return refused("address-not-registered", name);
    const ports = services.get(request.serviceId);
    if (ports === undefined || policy.services?.has(request.serviceId) === false) {
      return refused("service-not-granted", name);
    }
    counters.put(name, keyVersion, acceptCounter(state, request.counter));
    return {
      kind: "accepted",
      action: request.action,
      device: name,
      address: source.address,
      sourcePort: request.sourcePort,
      ports,
      windowSeconds: windowSeconds(request.windowSeconds, this.#options),
      certBind: request.certBind,
      madeAtMs: request.clockless ? undefined : request.timestampMs,
    };
  }
}
