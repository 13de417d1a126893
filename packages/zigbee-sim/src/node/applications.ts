import { uint16 } from "@postern/zigbee/encoding";
import { type Eui64 } from "@postern/zigbee/eui64";
import { joined } from "@postern/zigbee/security/mmo-hash";
import { encodeZclCommand, encodeZclReport } from "@postern/zigbee/zcl/encode-zcl";
import { decodeZdpFrame, zdpProfile } from "@postern/zigbee/zdp/zdp-frame";

import { type NodePlan } from "../scenario.ts";
import { type Message } from "../truth.ts";
import { type ApsIndication } from "./aps.ts";
import { type Device } from "./device.ts";

const homeAutomation = 0x0104;
const cluster = { onOff: 0x0006, temperature: 0x0402, zone: 0x0500, hidden: 0x0402 } as const;
const endpoint = 1;
const octetString = 0x41;
const signed16 = 0x29;
/** Bytes that every message is filled up to where traffic is hidden, and how often one is sent. */
const hiddenBytes = 24;
const hiddenSlotUs = 10_000_000;

/** What is sent to whom. */
interface Outbound {
  readonly destination: {
    readonly short: number;
    readonly name: string;
    readonly address: Eui64 | undefined;
  };
  readonly cluster: number;
  readonly payload: Uint8Array;
  readonly sinceUs: number;
}

/** What tells a message from all others at its receiver; not its sender's address, which may change on the way. */
function identityOf(cluster: number, counter: number, payload: Uint8Array): string {
  return `${cluster} ${counter} ${Buffer.from(payload).toString("hex")}`;
}

/** Thermometers, door contacts and lamps, and the coordinator that controls the lamps. */
export class Applications {
  readonly #device: Device;
  readonly #lamps = new Map<Eui64, NodePlan>();
  #sequence: number;
  #pendingEventUs: number | undefined;
  #isStarted = false;

  constructor(device: Device) {
    this.#device = device;
    this.#sequence = device.random.below(256);
  }

  /** Begins to send what a device of its kind sends. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    const { plan, world, isCoordinator, random } = this.#device;
    const { hidesTraffic } = world.scenario.stack;
    if (isCoordinator) {
      for (const lamp of world.scenario.nodes) {
        if (lamp.application === "lamp") this.#control(lamp);
      }
    } else if (hidesTraffic && (plan.application === "thermometer" || plan.application === "contact")) {
      world.queue.after(random.below(hiddenSlotUs), () => this.#slot());
      if (plan.application === "contact") this.#awaitEvent();
    } else if (plan.application === "thermometer") {
      world.queue.after(random.below(plan.intervalSeconds * 1_000_000), () => this.#report());
    } else if (plan.application === "contact") {
      this.#awaitEvent();
    }
  }

  /** A message has arrived. */
  receive({ aps, payload, received }: ApsIndication): void {
    const { world, plan, trustCentre, keyExchange } = this.#device;
    if (aps.profile === zdpProfile) {
      const zdp = decodeZdpFrame(aps.cluster, payload);
      if (zdp.kind !== "device-announce" || zdp.address === undefined || !received.secured) return;
      if (trustCentre !== undefined) keyExchange.proved(zdp.address, zdp.shortAddress);
      const lamp = world.scenario.nodes.find(({ address }) => address === zdp.address);
      if (lamp?.application === "lamp") this.#lamps.set(lamp.address, lamp);
      return;
    }
    if (aps.profile !== homeAutomation) return;
    // A padding message says nothing, and is nobody's loss.
    if (world.scenario.stack.hidesTraffic && payload[7] === 0) return;
    world.truth.received(plan.name, identityOf(aps.cluster, aps.counter, payload));
  }

  #next(): number {
    this.#sequence = (this.#sequence + 1) & 0xff;
    return this.#sequence;
  }

  #report(): void {
    const { plan, world, random } = this.#device;
    const value = uint16(2_000 + random.below(500));
    const payload = encodeZclReport(this.#next(), { id: 0, type: signed16, value });
    this.#toCoordinator(cluster.temperature, payload, world.queue.nowUs);
    const intervalUs = plan.intervalSeconds * 1_000_000;
    world.queue.after(intervalUs * 0.9 + random.below(intervalUs / 5), () => this.#report());
  }

  #awaitEvent(): void {
    const { plan, world, random } = this.#device;
    world.queue.after(1_000_000 + random.exponential(plan.intervalSeconds * 1_000_000), () => {
      this.#pendingEventUs ??= world.queue.nowUs;
      if (!world.scenario.stack.hidesTraffic) {
        const status = joined(uint16(random.below(2)), Uint8Array.of(0, 0), uint16(0));
        const payload = encodeZclCommand(this.#next(), { id: 0, fromServer: true, payload: status });
        this.#toCoordinator(cluster.zone, payload, this.#pendingEventUs);
        this.#pendingEventUs = undefined;
      }
      this.#awaitEvent();
    });
  }

  /** Where traffic is hidden, a message of always the same length leaves at fixed times, whether there is anything to say or not. */
  #slot(): void {
    const { plan, world } = this.#device;
    const isEvent = plan.application === "thermometer" || this.#pendingEventUs !== undefined;
    const filler = new Uint8Array(hiddenBytes);
    filler[0] = hiddenBytes - 1;
    filler[1] = isEvent ? 1 : 0;
    const payload = encodeZclReport(this.#next(), { id: 0xf000, type: octetString, value: filler });
    const sinceUs = this.#pendingEventUs ?? world.queue.nowUs;
    this.#pendingEventUs = undefined;
    this.#toCoordinator(cluster.hidden, payload, sinceUs, isEvent);
    world.queue.after(hiddenSlotUs, () => this.#slot());
  }

  #toCoordinator(clusterId: number, payload: Uint8Array, sinceUs: number, counts = true): void {
    const { scenario, hub } = this.#device.world;
    const coordinator = scenario.nodes.find(({ kind }) => kind === "coordinator");
    const destination = {
      short: hub.short,
      name: coordinator?.name ?? "coordinator",
      address: coordinator?.address,
    };
    this.#send({ destination, cluster: clusterId, payload, sinceUs }, counts);
  }

  /** The coordinator switches a lamp now and then. */
  #control(lamp: NodePlan): void {
    const { world, random, keyExchange } = this.#device;
    const intervalUs = lamp.intervalSeconds * 1_000_000;
    world.queue.after(1_000_000 + random.exponential(intervalUs), () => {
      const short = keyExchange.shortAddress(lamp.address);
      if (short !== undefined && this.#lamps.has(lamp.address)) {
        const payload = encodeZclCommand(this.#next(), { id: 2, fromServer: false });
        const destination = { short, name: lamp.name, address: lamp.address };
        this.#send({ destination, cluster: cluster.onOff, payload, sinceUs: world.queue.nowUs }, true);
      }
      this.#control(lamp);
    });
  }

  #send(outbound: Outbound, counts: boolean): void {
    const { aps, mac, world, plan, keyExchange, membership, isMember } = this.#device;
    const { destination, payload, sinceUs } = outbound;
    if (!mac.isOn) return;
    if (!isMember) {
      // What happens while the network is lost is lost as well, and counts.
      if (counts) {
        const lost = world.truth.sent(plan.name, destination.name, `unsent ${plan.name} ${sinceUs}`, sinceUs);
        lost.believed = "lost";
      }
      return;
    }
    let message: Message | undefined;
    const counter = aps.send({
      destination: destination.short,
      destinationEndpoint: endpoint,
      sourceEndpoint: endpoint,
      cluster: outbound.cluster,
      profile: homeAutomation,
      payload,
      acknowledged: world.scenario.stack.apsAcknowledgments,
      protection: keyExchange.applicationProtection(destination.address),
      onDone: (confirmed) => {
        if (message !== undefined) message.believed = confirmed === false ? "lost" : "arrived";
      },
    });
    if (counts) {
      message = world.truth.sent(
        plan.name,
        destination.name,
        identityOf(outbound.cluster, counter, payload),
        sinceUs,
      );
    }
    if (world.scenario.stack.apsAcknowledgments) membership.polling.expectAnswer();
  }
}
