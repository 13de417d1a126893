import { type Eui64 } from "@postern/zigbee/eui64";
import {
  AssociationStatus,
  Capability,
  encodeAssociationResponse,
  encodeBeaconPayload,
  encodeRealignment,
} from "@postern/zigbee/mac/encode-mac-payload";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";

import { type Device } from "./device.ts";
import { noAddress } from "./nwk-types.ts";
import { treeSkip } from "./routing.ts";

const minuteUs = 60_000_000;
/** Children that do not show the network key within this time are forgotten, where that is switched on. */
const proofUs = 12_000_000;

/** What a coordinator or router does for devices that want to join. @see Zigbee §3.6.1.4 */
export class Parent {
  readonly #device: Device;
  readonly #requestsUs: number[] = [];
  #openUntilUs = 0;
  #treeRouters = 0;
  #treeEndDevices = 0;
  /** Most children at a time, and requests that were turned away. */
  peakChildren = 0;
  refused = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /** Lets devices join for a while. */
  open(seconds: number): void {
    this.#openUntilUs = this.#device.world.queue.nowUs + seconds * 1_000_000;
  }

  get isOpen(): boolean {
    return this.#device.world.queue.nowUs < this.#openUntilUs;
  }

  get #hasRoom(): boolean {
    const { nwk, world } = this.#device;
    return nwk.children.size < world.scenario.stack.childrenMax;
  }

  beaconRequested(): void {
    const device = this.#device;
    if (!device.isMember || !device.isRouter) return;
    const { world, place, mac, random } = device;
    const payload = encodeBeaconPayload({
      associationPermit: this.isOpen,
      panCoordinator: device.isCoordinator,
      stackProfile: world.tree === undefined ? 2 : 1,
      deviceDepth: place.depth,
      routerCapacity: this.#hasRoom,
      endDeviceCapacity: this.#hasRoom,
      extendedPan: place.extendedPan,
      updateId: place.updateId,
    });
    // Several routers hear the same request.
    world.queue.after(random.below(30_000), () =>
      mac.send({
        frameType: MacFrameType.beacon,
        destination: undefined,
        source: { pan: place.pan, address: place.short },
        payload,
        acknowledgmentRequest: false,
      }),
    );
  }

  associationRequested(address: Eui64, capability: number): void {
    const device = this.#device;
    if (!device.isMember || !device.isRouter) return;
    this.#forgetUnproved();
    const known = [...device.nwk.children.values()].find((child) => child.address === address);
    if (device.trustCentre?.refusal(address) !== undefined) {
      // An answer would wait for somebody who never fetches it, and take the place of others.
      this.refused++;
      return;
    }
    const status = known === undefined ? this.#judge() : AssociationStatus.success;
    if (status !== AssociationStatus.success) {
      this.refused++;
      this.#answer(address, noAddress, status, () => {});
      return;
    }
    const isRouter = (capability & Capability.router) !== 0;
    const sleeps = (capability & Capability.receiverOnWhenIdle) === 0;
    const short = known?.short ?? this.#assign(isRouter);
    if (short === undefined) {
      this.#answer(address, noAddress, AssociationStatus.panAtCapacity, () => {});
      return;
    }
    const sinceUs = device.world.queue.nowUs;
    device.nwk.children.set(short, { address, short, isRouter, sleeps, proved: false, sinceUs });
    this.peakChildren = Math.max(this.peakChildren, device.nwk.children.size);
    this.#answer(address, short, status, () => device.keyExchange.childJoined(address, short, "association"));
  }

  /** A device that rejoins gets an address; `undefined`: there is no room. */
  adopt(address: Eui64, capability: number): number | undefined {
    const { nwk, world } = this.#device;
    this.#forgetUnproved();
    const known = [...nwk.children.values()].find((child) => child.address === address);
    // Anybody can ask in the name of a child: it stays what it was.
    if (known !== undefined) return known.short;
    if (!this.#hasRoom) return undefined;
    const isRouter = (capability & Capability.router) !== 0;
    const sleeps = (capability & Capability.receiverOnWhenIdle) === 0;
    const short = this.#assign(isRouter);
    if (short === undefined) return undefined;
    const sinceUs = world.queue.nowUs;
    nwk.children.set(short, { address, short, isRouter, sleeps, proved: false, sinceUs });
    this.peakChildren = Math.max(this.peakChildren, nwk.children.size);
    return short;
  }

  /** A child has lost us and asks where we are. @see IEEE 802.15.4-2006 §7.5.2.1.4 */
  orphanFound(address: Eui64): void {
    const { nwk, place, mac, plan } = this.#device;
    const child = [...nwk.children.values()].find((other) => other.address === address);
    if (child === undefined) return;
    const { pan } = place;
    const channel = mac.radio.channel;
    mac.send({
      frameType: MacFrameType.command,
      destination: { pan: 0xffff, address },
      source: { pan, address: plan.address },
      payload: encodeRealignment({ pan, coordinator: place.short, channel, shortAddress: child.short }),
      acknowledgmentRequest: true,
    });
  }

  #judge(): number {
    const { world } = this.#device;
    const { nowUs } = world.queue;
    if (!this.isOpen) return AssociationStatus.panAccessDenied;
    while ((this.#requestsUs[0] ?? nowUs) < nowUs - minuteUs) this.#requestsUs.shift();
    if (this.#requestsUs.length >= world.scenario.stack.associationsEachMinuteMax) {
      return AssociationStatus.panAccessDenied;
    }
    this.#requestsUs.push(nowUs);
    return this.#hasRoom ? AssociationStatus.success : AssociationStatus.panAtCapacity;
  }

  #forgetUnproved(): void {
    const { world, nwk } = this.#device;
    if (!world.scenario.stack.forgetsUnproved) return;
    for (const child of nwk.children.values()) {
      if (!child.proved && world.queue.nowUs - child.sinceUs > proofUs) nwk.children.delete(child.short);
    }
  }

  #answer(address: Eui64, short: number, status: number, onFetched: () => void): void {
    const { mac, place, plan } = this.#device;
    mac.sendIndirect(address, {
      frameType: MacFrameType.command,
      destination: { pan: place.pan, address },
      source: { pan: place.pan, address: plan.address },
      payload: encodeAssociationResponse(short, status),
      acknowledgmentRequest: true,
      onDone: (result) => {
        if (result === "sent") onFetched();
      },
    });
  }

  /** At random, or by the place in the tree. @see Zigbee §3.6.1.6, §3.6.1.7 */
  #assign(isRouter: boolean): number | undefined {
    const { world, random, place, nwk } = this.#device;
    if (world.tree === undefined) {
      for (;;) {
        const short = 1 + random.below(0xfff0);
        if (short < 0xfff8 && !nwk.children.has(short) && !nwk.routing.neighbours.has(short)) return short;
      }
    }
    const { childrenMax, routersMax, depthMax } = world.tree;
    const skip = treeSkip(place.depth, world.tree);
    if (isRouter) {
      if (place.depth + 1 >= depthMax || this.#treeRouters >= routersMax) return undefined;
      return place.short + 1 + skip * this.#treeRouters++;
    }
    if (this.#treeEndDevices >= childrenMax - routersMax) return undefined;
    return place.short + skip * routersMax + ++this.#treeEndDevices;
  }
}
