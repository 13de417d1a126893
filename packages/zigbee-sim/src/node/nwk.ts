import { type Eui64 } from "@postern/zigbee/eui64";
import { type NetworkKeys } from "@postern/zigbee/key-life/network-keys";
import { MacFrameType } from "@postern/zigbee/mac/mac-frame";
import { decodeNwkCommand, NwkCommandId } from "@postern/zigbee/nwk/nwk-command";
import { encodeLinkStatus, encodeNetworkStatus } from "@postern/zigbee/nwk/encode-nwk-command";
import { encodeNwkHeader } from "@postern/zigbee/nwk/encode-nwk-frame";
import {
  decodeNwkFrame,
  isZigbeePro,
  NwkFrameType,
  peekNwkFrameControl,
} from "@postern/zigbee/nwk/nwk-frame";
import { joined } from "@postern/zigbee/security/mmo-hash";

import { type EventQueue } from "../event-queue.ts";
import { type Random } from "../random.ts";
import { type StackSettings } from "../settings.ts";
import { BroadcastTable } from "./broadcast-table.ts";
import { type Mac, type SendResult } from "./mac.ts";
import { NwkSecurity, type Rejection } from "./nwk-security.ts";
import {
  type Child,
  type NetworkPlace,
  NwkBroadcast,
  type Outgoing,
  type Received,
  type TreeShape,
} from "./nwk-types.ts";
import { RouteDiscovery } from "./route-discovery.ts";
import { Routing, treeNextHop } from "./routing.ts";

const radiusMax = 15;
const broadcastJitterUs = 64_000;
const passiveAcknowledgmentUs = 500_000;
const broadcastRetriesMax = 2;
const linkStatusUs = 15_000_000;
/** Reasons of a network status. @see Zigbee Table 3-51 */
const linkFailure = 0x02;

/** The network layer of one device. @see Zigbee §3.6 */
export class Nwk {
  readonly place: NetworkPlace;
  readonly routing = new Routing();
  readonly broadcasts: BroadcastTable;
  readonly security: NwkSecurity;
  readonly children = new Map<number, Child>();
  readonly rejections = new Map<Rejection, number>();
  onReceived: (received: Received) => void = () => {};
  onRejected: (reason: Rejection) => void = () => {};
  #sequence: number;
  readonly #mac: Mac;
  readonly #queue: EventQueue;
  readonly #random: Random;
  readonly #address: Eui64;
  readonly #stack: StackSettings;
  readonly #isRouter: boolean;
  readonly #tree: TreeShape | undefined;
  readonly #discovery: RouteDiscovery;

  constructor(parts: {
    readonly mac: Mac;
    readonly queue: EventQueue;
    readonly random: Random;
    readonly address: Eui64;
    readonly keys: () => NetworkKeys;
    readonly stack: StackSettings;
    readonly isRouter: boolean;
    readonly tree: TreeShape | undefined;
    readonly place: NetworkPlace;
  }) {
    this.#mac = parts.mac;
    this.#queue = parts.queue;
    this.#random = parts.random;
    this.#address = parts.address;
    this.#stack = parts.stack;
    this.#isRouter = parts.isRouter;
    this.#tree = parts.tree;
    this.place = parts.place;
    this.#sequence = parts.random.below(256);
    const { stack } = parts;
    this.#discovery = new RouteDiscovery({
      ...parts,
      routing: this.routing,
      secured: stack.securityLevel > 0,
      nextSequence: () => (this.#sequence = (this.#sequence + 1) & 0xff),
      transmit: (frame) => this.#transmit(frame, 0xffff, undefined),
      send: (payload, neighbour) =>
        this.send(payload, { frameType: NwkFrameType.command, destination: neighbour, nextHop: neighbour }),
      hop: (frame, nextHop) => this.#hop(frame, nextHop),
      nextHop: (destination) => this.#nextHop(destination),
      isChild: (short) => this.children.has(short),
    });
    this.broadcasts = new BroadcastTable(stack.broadcastTableMax, stack.broadcastsEachSourceMax);
    this.security = new NwkSecurity({
      ...parts,
      work: (durationUs) => parts.mac.radio.energy.work(durationUs),
    });
  }

  /** Sends a payload to a device, or to many. `nextHop` is for devices that have no route and no key yet. */
  send(
    payload: Uint8Array,
    to: {
      readonly frameType: number;
      readonly destination: number;
      readonly secured?: boolean;
      readonly radius?: number;
      readonly nextHop?: number;
      readonly namesSource?: boolean;
      readonly onDone?: (result: SendResult | "no-route") => void;
    },
  ): void {
    this.#sequence = (this.#sequence + 1) & 0xff;
    const frame: Outgoing = {
      frameType: to.frameType,
      destination: to.destination,
      source: this.place.short,
      sourceExtended: to.namesSource === true ? this.#address : undefined,
      radius: to.radius ?? radiusMax,
      sequence: this.#sequence,
      payload,
      secured: to.secured ?? this.#stack.securityLevel > 0,
      onDone: to.onDone,
    };
    if (to.destination >= NwkBroadcast.lowest) this.#broadcast(frame);
    else if (to.nextHop !== undefined) this.#hop(frame, to.nextHop);
    else this.#unicast(frame);
  }

  /** Tells the neighbours how well they are heard; begins when a router has joined. @see Zigbee §3.6.3.4 */
  announceLinks(): void {
    const next = (): void => {
      if (this.place.short === 0xffff || !this.#mac.isOn) return;
      const links = [...this.routing.neighbours.values()]
        .filter(({ isRouter }) => isRouter)
        .map(({ address, incomingCost, outgoingCost }) => ({ address, incomingCost, outgoingCost }));
      const to = { frameType: NwkFrameType.command, destination: NwkBroadcast.routers, radius: 1 };
      this.send(encodeLinkStatus(links), to);
      this.#queue.after(linkStatusUs + this.#random.below(1_000_000), next);
    };
    this.#queue.after(this.#random.below(2_000_000), next);
  }

  /** A MAC data frame has arrived. */
  receive(
    bytes: Uint8Array,
    frame: { readonly start: number; readonly end: number; readonly source: number; readonly rssi: number },
  ): void {
    const control = peekNwkFrameControl(bytes, frame.start, frame.end);
    if (control === -1 || !isZigbeePro(control)) return;
    const nwk = decodeNwkFrame(bytes, frame.start, frame.end);
    if (nwk.stopped !== undefined) return;
    const opened = this.security.open(bytes, nwk);
    if (typeof opened === "string") {
      this.rejections.set(opened, (this.rejections.get(opened) ?? 0) + 1);
      this.onRejected(opened);
      return;
    }
    const isTrusted = opened.secured || this.#stack.securityLevel === 0;
    if (isTrusted) this.#seeNeighbour(frame.source, frame.rssi);
    const received = { frame: nwk, ...opened, previousHop: frame.source };
    if (nwk.destinationShort >= NwkBroadcast.lowest) this.#receiveBroadcast(received);
    else if (nwk.destinationShort === this.place.short) this.#deliver(received);
    else if (this.#isRouter && nwk.radius > 1 && isTrusted) this.#relay(received);
  }

  #seeNeighbour(address: number, rssi: number): void {
    if (!this.#isRouter || address === -1) return;
    const child = this.children.get(address);
    this.routing.heard(address, rssi, this.#queue.nowUs, child?.isRouter ?? false);
    if (child !== undefined) child.proved = true;
  }

  #receiveBroadcast(received: Received): void {
    const { frame, payload } = received;
    if (frame.frameType === NwkFrameType.command && received.secured) {
      const command = decodeNwkCommand(payload);
      if (command.kind === "route-request" && command.stopped === undefined) {
        if (this.#isRouter) this.#discovery.seeRequest(received, command);
        return;
      }
      if (command.kind === "link-status") {
        this.#seeLinkStatus(received, command.links);
        return;
      }
    }
    if (!received.secured && this.#stack.securityLevel > 0) {
      this.#deliver(received);
      return;
    }
    if (frame.sourceShort === this.place.short) return;
    if (this.broadcasts.see(frame.sourceShort, frame.sequence, this.#queue.nowUs) !== "new") return;
    this.#deliver(received);
    if (!this.#isRouter || frame.radius <= 1) return;
    const outgoing = this.#again(received);
    this.#queue.after(this.#random.below(broadcastJitterUs), () => this.#sendBroadcast(outgoing, 0));
    this.#toSleepers(outgoing);
  }

  #again({ frame, payload, secured }: Received): Outgoing {
    return {
      frameType: frame.frameType,
      destination: frame.destinationShort,
      source: frame.sourceShort,
      sourceExtended: frame.source,
      radius: frame.radius - 1,
      sequence: frame.sequence,
      payload,
      secured,
      onDone: undefined,
    };
  }

  #broadcast(frame: Outgoing): void {
    if (frame.radius > 1) this.broadcasts.see(frame.source, frame.sequence, this.#queue.nowUs);
    if (!this.#isRouter && this.place.parent !== undefined) {
      // The parent of an end device broadcasts for it.
      this.#hop(frame, this.place.parent);
      return;
    }
    this.#sendBroadcast(frame, frame.radius > 1 ? 0 : broadcastRetriesMax);
    this.#toSleepers(frame);
  }

  /** Once more when no neighbour is heard relaying it. */
  #sendBroadcast(frame: Outgoing, attempt: number): void {
    const expected = [...this.routing.neighbours.values()].some(({ isRouter }) => isRouter);
    this.#transmit(frame, 0xffff, undefined);
    if (attempt >= broadcastRetriesMax || !expected || frame.radius <= 1) return;
    this.#queue.after(passiveAcknowledgmentUs, () => {
      if (this.broadcasts.relays(frame.source, frame.sequence) === 0) this.#sendBroadcast(frame, attempt + 1);
    });
  }

  #toSleepers(frame: Outgoing): void {
    if (frame.destination !== NwkBroadcast.all) return;
    for (const child of this.children.values()) {
      if (child.sleeps && child.short !== frame.source) this.#transmit(frame, child.short, undefined);
    }
  }

  #relay(received: Received): void {
    const frame = this.#again(received);
    const broken = (result: SendResult | "no-route"): void => {
      if (result !== "no-acknowledgement" && result !== "no-route") return;
      const status = encodeNetworkStatus(linkFailure, frame.destination);
      this.send(status, { frameType: NwkFrameType.command, destination: frame.source });
    };
    this.#unicast({ ...frame, onDone: broken });
  }

  #unicast(frame: Outgoing): void {
    const nextHop = this.#nextHop(frame.destination);
    if (nextHop !== undefined) {
      this.#hop(frame, nextHop);
      return;
    }
    const isRelayed = frame.source !== this.place.short;
    if (this.#tree !== undefined || !this.#discovery.wait(frame, isRelayed)) frame.onDone?.("no-route");
  }

  #nextHop(destination: number): number | undefined {
    if (this.children.has(destination)) return destination;
    if (!this.#isRouter) return this.place.parent;
    if (this.#tree !== undefined) {
      const { short, depth, parent } = this.place;
      return treeNextHop({ address: short, depth, parent }, destination, this.#tree);
    }
    return this.routing.nextHop(destination, this.#queue.nowUs);
  }

  #seeLinkStatus(
    { previousHop }: Received,
    links: readonly { readonly address: number; readonly incomingCost: number }[],
  ): void {
    const neighbour = this.routing.neighbours.get(previousHop);
    if (neighbour === undefined) return;
    neighbour.isRouter = true;
    const ours = links.find(({ address }) => address === this.place.short);
    neighbour.outgoingCost = ours?.incomingCost ?? 0;
  }

  #deliver(received: Received): void {
    const { frame, payload, secured, previousHop } = received;
    if (frame.frameType === NwkFrameType.command && secured) {
      const command = decodeNwkCommand(payload);
      if (command.kind === "route-reply" && command.stopped === undefined) {
        if (this.#isRouter) this.#discovery.seeReply(previousHop, command);
        return;
      }
      if (command.id === NwkCommandId.networkStatus && command.kind === "network-status") {
        this.routing.forget(command.destination);
        return;
      }
    }
    this.onReceived(received);
  }

  /** To the next device on the way; a link that fails is not used any more, and the frame goes another way once. */
  #hop(frame: Outgoing, nextHop: number): void {
    this.#transmit(frame, nextHop, (result) => {
      const isLost = result === "no-acknowledgement" && this.children.get(nextHop)?.isRouter !== false;
      if (isLost && this.#isRouter) this.routing.broken(nextHop);
      const isOurs = frame.source === this.place.short;
      if (isLost && this.#isRouter && isOurs && this.#tree === undefined && frame.radius === radiusMax) {
        this.#unicast({ ...frame, radius: radiusMax - 1 });
      } else {
        frame.onDone?.(result);
      }
    });
  }

  #transmit(frame: Outgoing, nextHop: number, onDone: ((result: SendResult) => void) | undefined): void {
    const header = encodeNwkHeader({
      frameType: frame.frameType,
      destination: frame.destination,
      source: frame.source,
      radius: frame.radius,
      sequence: frame.sequence,
      security: frame.secured,
      discoverRoute: frame.frameType === NwkFrameType.data && this.#tree === undefined,
      sourceExtended: frame.sourceExtended,
    });
    const payload = frame.secured ? this.security.seal(header, frame.payload) : joined(header, frame.payload);
    if (payload === undefined) return;
    const { pan, short } = this.place;
    const request = {
      frameType: MacFrameType.data,
      destination: { pan, address: nextHop },
      source: { pan, address: short },
      payload,
      acknowledgmentRequest: nextHop !== 0xffff,
      ...(onDone === undefined ? {} : { onDone }),
    };
    if (this.children.get(nextHop)?.sleeps === true) this.#mac.sendIndirect(nextHop, request);
    else this.#mac.send(request);
  }
}
