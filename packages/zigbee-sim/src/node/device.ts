import { type Eui64 } from "@postern/zigbee/eui64";
import { keyEstablishmentCluster } from "@postern/zigbee/key-establishment/key-establishment-command";
import { JoiningDevice, type JoiningPolicy } from "@postern/zigbee/key-life/joining-device";
import { type NetworkKeys } from "@postern/zigbee/key-life/network-keys";
import { TrustCentre, type TrustCentrePolicy } from "@postern/zigbee/key-life/trust-centre";
import { type Beacon, decodeBeacon } from "@postern/zigbee/mac/beacon";
import { Capability } from "@postern/zigbee/mac/encode-mac-payload";
import { decodeMacCommand, MacCommandId } from "@postern/zigbee/mac/mac-command";
import { type MacFrame, MacFrameType } from "@postern/zigbee/mac/mac-frame";

import { type EventQueue } from "../event-queue.ts";
import { type Medium, Radio } from "../radio/medium.ts";
import { type Random } from "../random.ts";
import { type NodePlan, type Scenario } from "../scenario.ts";
import { type Truth } from "../truth.ts";
import { Applications } from "./applications.ts";
import { Aps } from "./aps.ts";
import { ChannelWatch } from "./channel-watch.ts";
import { CertificateExchange, type Identity } from "./certificate-exchange.ts";
import { KeyExchange } from "./key-exchange.ts";
import { Mac } from "./mac.ts";
import { Membership } from "./membership.ts";
import { Nwk } from "./nwk.ts";
import { type NetworkPlace, noAddress, type TreeShape } from "./nwk-types.ts";
import { Parent } from "./parent.ts";

/** What all devices of a simulation share. */
export interface World {
  readonly scenario: Scenario;
  readonly queue: EventQueue;
  readonly medium: Medium;
  readonly random: Random;
  readonly truth: Truth;
  readonly tree: TreeShape | undefined;
  /** Who has formed the network, and what applications report to. Its address is 0 where there is a coordinator. */
  readonly hub: { short: number };
}

/** A beacon that was heard in a scan. */
export interface HeardBeacon {
  readonly pan: number;
  readonly short: number;
  readonly channel: number;
  readonly rssi: number;
  readonly beacon: Beacon;
}

const noPan = 0xffff;

/** One device with all its layers. */
export class Device {
  readonly plan: NodePlan;
  readonly world: World;
  readonly random: Random;
  readonly place: NetworkPlace;
  readonly mac: Mac;
  readonly nwk: Nwk;
  readonly aps: Aps;
  readonly joiner: JoiningDevice;
  readonly trustCentre: TrustCentre | undefined;
  readonly keyExchange: KeyExchange;
  /** Where devices have certificates. */
  readonly certificates: CertificateExchange | undefined;
  readonly membership: Membership;
  readonly parent: Parent;
  readonly applications: Applications;

  constructor(
    plan: NodePlan,
    world: World,
    keys: {
      readonly joining: JoiningPolicy;
      readonly centre: TrustCentrePolicy | undefined;
      readonly identity?: Identity | undefined;
    },
  ) {
    this.plan = plan;
    this.world = world;
    const random = world.random.derive(`device ${plan.name}`);
    this.random = random;
    const { scenario, queue, medium } = world;
    this.place = {
      pan: noPan,
      extendedPan: scenario.extendedPan,
      short: noAddress,
      depth: 0,
      parent: undefined,
      updateId: 0,
    };
    this.joiner = new JoiningDevice(keys.joining);
    // A router of a distributed network hands out what it was given itself.
    const given = plan.kind === "coordinator" ? undefined : this.joiner.networkKeys;
    this.trustCentre =
      keys.centre === undefined
        ? undefined
        : new TrustCentre(plan.address, keys.centre, (count) => random.bytes(count), given);
    this.mac = new Mac({
      radio: new Radio(plan.name, plan, scenario.channel),
      queue,
      medium,
      random: random.derive("mac"),
      identity: () => ({ pan: this.place.pan, short: this.place.short, extended: plan.address }),
      receiverOnWhenIdle: !plan.sleeps,
    });
    this.nwk = new Nwk({
      mac: this.mac,
      queue,
      random: random.derive("nwk"),
      address: plan.address,
      keys: () => this.networkKeys,
      stack: scenario.stack,
      isRouter: plan.kind !== "end-device",
      tree: world.tree,
      place: this.place,
    });
    this.aps = new Aps({
      nwk: this.nwk,
      queue,
      address: plan.address,
      stack: scenario.stack,
      firstCounter: random.below(256),
      linkKeys: (source) => this.keyExchange.linkKeys(source),
    });
    this.keyExchange = new KeyExchange(this);
    this.certificates =
      keys.identity === undefined ? undefined : new CertificateExchange(this, keys.identity);
    this.membership = new Membership(this);
    this.parent = new Parent(this);
    this.applications = new Applications(this);
    this.#connect();
    this.mac.power(false);
  }

  get address(): Eui64 {
    return this.plan.address;
  }

  get isCoordinator(): boolean {
    return this.trustCentre !== undefined && this.plan.kind === "coordinator";
  }

  get isRouter(): boolean {
    return this.plan.kind !== "end-device";
  }

  /** The keys of the network that the device is in. */
  get networkKeys(): NetworkKeys {
    return this.isCoordinator && this.trustCentre !== undefined
      ? this.trustCentre.networkKeys
      : this.joiner.networkKeys;
  }

  /** Whether it takes part in a network. */
  get isMember(): boolean {
    return this.place.short !== noAddress && (this.isCoordinator || this.joiner.isMember);
  }

  /** What it tells others of itself when it joins. */
  get capability(): number {
    return (
      Capability.allocateAddress |
      (this.isRouter ? Capability.router : 0) |
      (this.plan.sleeps ? 0 : Capability.mainsPowered | Capability.receiverOnWhenIdle)
    );
  }

  note(what: string, kind: "network" | "harm" | "defence" = "network"): void {
    this.world.truth.note(this.plan.name, what, kind);
  }

  /** Switches the device on: a coordinator forms its network, all others look for one. */
  start(): void {
    this.mac.power(true);
    if (this.isCoordinator) this.#form();
    else this.membership.join();
  }

  #form(): void {
    const { scenario } = this.world;
    const isDistributed = scenario.security.model === "distributed";
    this.place.pan = scenario.pan;
    // Nobody has the coordinator's address where there is none (Zigbee §3.6.1.2); in a tree it is the root's.
    this.place.short = isDistributed && this.world.tree === undefined ? 1 + this.random.below(0xfff0) : 0;
    this.world.hub.short = this.place.short;
    this.note(isDistributed ? "forms a network without a trust centre" : "forms the network");
    this.parent.open(scenario.security.permitSeconds);
    this.nwk.announceLinks();
    this.keyExchange.startTrustCentre();
    new ChannelWatch(this).start();
    this.applications.start();
  }

  #connect(): void {
    this.mac.onFrame = (frame, bytes, rssi) => this.#receive(frame, bytes, rssi);
    this.nwk.onReceived = (received) => {
      if (received.frame.frameType === 1) this.membership.receiveCommand(received);
      else this.aps.receive(received);
    };
    this.nwk.onRejected = () => this.membership.polling.rejected();
    this.aps.onData = (indication) => {
      if (indication.aps.cluster === keyEstablishmentCluster) this.certificates?.receive(indication);
      else this.applications.receive(indication);
    };
    this.aps.onCommand = (indication) => this.keyExchange.receive(indication);
  }

  #receive(frame: MacFrame, bytes: Uint8Array, rssi: number): void {
    const { payloadStart: start, payloadEnd: end } = frame;
    if (frame.frameType === MacFrameType.data) {
      this.membership.fetched(frame.framePending);
      this.nwk.receive(bytes, { start, end, source: frame.sourceShort, rssi });
    } else if (frame.frameType === MacFrameType.beacon) {
      const beacon = decodeBeacon(bytes, start, end);
      const channel = this.mac.radio.channel;
      this.membership.heardBeacon({ pan: frame.sourcePan, short: frame.sourceShort, channel, rssi, beacon });
    } else if (frame.frameType === MacFrameType.command) {
      const command = decodeMacCommand(bytes, start, end);
      if (command.stopped !== undefined) return;
      switch (command.id) {
        case MacCommandId.beaconRequest:
          this.parent.beaconRequested();
          break;
        case MacCommandId.associationRequest:
          if (frame.source !== undefined) this.parent.associationRequested(frame.source, command.capability);
          break;
        case MacCommandId.orphanNotification:
          if (frame.source !== undefined) this.parent.orphanFound(frame.source);
          break;
        case MacCommandId.associationResponse:
          this.membership.fetched(frame.framePending);
          this.membership.associationAnswered(command.shortAddress, command.status);
          break;
        case MacCommandId.disassociationNotification:
          this.membership.disassociated(frame);
          break;
        case MacCommandId.coordinatorRealignment:
          this.membership.realigned(command);
          break;
        default:
          break;
      }
    }
  }
}
