import { type JoiningAction } from "@postern/zigbee/key-life/joining-device";
import { MacCommandId, type MacCommand } from "@postern/zigbee/mac/mac-command";
import { encodeAssociationRequest } from "@postern/zigbee/mac/encode-mac-payload";
import { type MacFrame, MacFrameType } from "@postern/zigbee/mac/mac-frame";
import { encodeRejoinRequest, encodeRejoinResponse } from "@postern/zigbee/nwk/encode-nwk-command";
import { decodeNwkCommand } from "@postern/zigbee/nwk/nwk-command";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";
import { encodeDeviceAnnounce } from "@postern/zigbee/zdp/encode-zdp";
import { ZdpCluster, zdpProfile } from "@postern/zigbee/zdp/zdp-frame";

import { type Timer } from "../event-queue.ts";
import { responseWaitUs, scanUs } from "../radio/timing.ts";
import { ChannelWatch } from "./channel-watch.ts";
import { type Device, type HeardBeacon } from "./device.ts";
import { noAddress, NwkBroadcast, type Received } from "./nwk-types.ts";
import { PanConflicts } from "./pan-conflicts.ts";
import { Polling } from "./polling.ts";
import { linkCost } from "./routing.ts";

const retryUs = 5_000_000;

function isOpen({ beacon }: HeardBeacon): boolean {
  return beacon.associationPermit && beacon.zigbee?.endDeviceCapacity === true;
}

function depth({ beacon }: HeardBeacon): number {
  return beacon.zigbee?.deviceDepth ?? 15;
}

/** How a device finds a network, gets in, stays in, and comes back. @see Zigbee §3.6.1 */
export class Membership {
  readonly #device: Device;
  readonly #beacons: HeardBeacon[] = [];
  readonly conflicts: PanConflicts;
  readonly polling: Polling;
  #isScanning = false;
  #state: "idle" | "joining" | "rejoining" = "idle";
  #channels: number[] = [];
  #timer: Timer | undefined;
  #failures = 0;
  #candidate: HeardBeacon | undefined;
  /** Networks that turned out to be traps. */
  readonly #avoided = new Set<string>();
  joinedUs: number | undefined;

  constructor(device: Device) {
    this.#device = device;
    this.conflicts = new PanConflicts(device);
    this.polling = new Polling(device, {
      isSettled: () => this.#state === "idle",
      onLost: () => this.rejoin(),
    });
  }

  /** Looks for a network and joins it. */
  join(): void {
    this.#state = "joining";
    this.#scan();
  }

  /** Looks for its own network on all channels and comes back, under the network key if it is known. */
  rejoin(): void {
    const device = this.#device;
    if (this.#state !== "idle" || device.isCoordinator) return;
    this.#state = "rejoining";
    device.world.truth.losses++;
    device.note("has lost its network and looks for it", "harm");
    this.#scan();
  }

  #scan(): void {
    const { world, mac } = this.#device;
    const { scenario } = world;
    this.#beacons.length = 0;
    this.#isScanning = true;
    if (this.#timer !== undefined) this.#timer.cancelled = true;
    const all = [mac.radio.channel, ...scenario.stack.channels];
    // A network is looked for on its channel first; it may have moved since.
    const isFirst = this.#state === "joining" && this.#failures === 0;
    this.#channels = isFirst ? [scenario.channel] : [...new Set(all)];
    this.#scanNext();
  }

  #scanNext(): void {
    const { mac, world } = this.#device;
    const channel = this.#channels.shift();
    if (channel === undefined) {
      this.#isScanning = false;
      this.#choose();
      return;
    }
    if (channel !== mac.radio.channel) world.medium.tune(mac.radio, channel);
    mac.send({
      frameType: MacFrameType.command,
      destination: { pan: 0xffff, address: 0xffff },
      source: undefined,
      payload: Uint8Array.of(MacCommandId.beaconRequest),
      acknowledgmentRequest: false,
      onDone: () => {
        mac.stayAwake(scanUs);
        world.queue.after(scanUs, () => this.#scanNext());
      },
    });
  }

  /** A frame of the parent has come; `pending`: there are more. */
  fetched(pending: boolean): void {
    if (!this.#isScanning) this.polling.fetched(pending);
  }

  heardBeacon(heard: HeardBeacon): void {
    if (this.#isScanning && heard.beacon.zigbee !== undefined) this.#beacons.push(heard);
    else this.conflicts.heardBeacon(heard);
  }

  #choose(): void {
    const { world, place, mac } = this.#device;
    const { stack, extendedPan } = world.scenario;
    const isOurs = ({ beacon }: HeardBeacon): boolean => beacon.zigbee?.extendedPan === extendedPan;
    const possible = this.#beacons.filter((heard) => {
      if (this.#state === "rejoining") return isOurs(heard);
      const isWanted = isOurs(heard) || !stack.joinsOnlyKnownNetworks;
      return isOpen(heard) && isWanted && !this.#avoided.has(heard.beacon.zigbee?.extendedPan ?? "");
    });
    const usable = possible.filter(({ rssi }) => linkCost(rssi) <= 3);
    const best = (usable.length > 0 ? usable : possible).toSorted((a, b) =>
      // Without a network of its own in mind a device takes the strongest.
      stack.joinsOnlyKnownNetworks ? depth(a) - depth(b) || b.rssi - a.rssi : b.rssi - a.rssi,
    );
    // The best of several tries failed: the next one may have room.
    const chosen = best[this.#failures % Math.max(1, best.length)];
    if (chosen === undefined) {
      this.#again();
      return;
    }
    this.#candidate = chosen;
    world.medium.tune(mac.radio, chosen.channel);
    place.pan = chosen.pan;
    if (this.#state === "joining") this.#associate(chosen);
    else this.#requestRejoin(chosen);
  }

  #again(): void {
    const { world, random } = this.#device;
    // The answer has come, and only its acknowledgement was lost.
    if (this.#state === "idle") return;
    this.#failures++;
    this.#timer = world.queue.after(retryUs / 2 + random.below(retryUs), () => this.#scan());
  }

  #associate(to: HeardBeacon): void {
    const device = this.#device;
    device.place.short = noAddress;
    device.mac.send({
      frameType: MacFrameType.command,
      destination: { pan: to.pan, address: to.short },
      source: { pan: 0xffff, address: device.address },
      payload: encodeAssociationRequest(device.capability),
      acknowledgmentRequest: true,
      onDone: (result) => {
        if (result !== "sent") {
          this.#again();
          return;
        }
        device.world.queue.after(responseWaitUs / 4, () =>
          device.mac.poll(to.short, true, (_, pending) => {
            if (!pending) this.#again();
            else this.#timer = device.world.queue.after(responseWaitUs, () => this.#again());
          }),
        );
      },
    });
  }

  associationAnswered(short: number, status: number): void {
    const { place, joiner, world } = this.#device;
    const candidate = this.#candidate;
    if (this.#state !== "joining" || candidate === undefined) return;
    if (this.#timer !== undefined) this.#timer.cancelled = true;
    if (status !== 0) {
      this.#again();
      return;
    }
    place.short = short;
    place.parent = candidate.short;
    place.depth = (candidate.beacon.zigbee?.deviceDepth ?? 0) + 1;
    this.#state = "idle";
    this.#failures = 0;
    this.polling.reset();
    this.#device.note(`is given the address 0x${short.toString(16).padStart(4, "0")}`);
    joiner.associated(world.queue.nowUs);
    this.#device.certificates?.reset();
    const waitUs = joiner.policy.authenticationUs;
    world.queue.after(waitUs, () => this.perform(joiner.expire(world.queue.nowUs)));
    this.polling.start();
    if (world.scenario.stack.securityLevel === 0) {
      joiner.rejoined();
      this.perform([{ kind: "announce" }]);
    }
  }

  #requestRejoin(to: HeardBeacon): void {
    const device = this.#device;
    const secured = device.networkKeys.active !== undefined;
    if (device.place.short === noAddress) device.place.short = 1 + device.random.below(0xfff0);
    device.place.parent = to.short;
    device.nwk.send(encodeRejoinRequest(device.capability), {
      frameType: NwkFrameType.command,
      destination: to.short,
      nextHop: to.short,
      radius: 1,
      namesSource: true,
      secured,
      onDone: (result) => {
        if (result !== "sent") {
          this.#again();
          return;
        }
        device.mac.stayAwake(300_000);
        device.world.queue.after(150_000, () => device.mac.poll(to.short, false, () => {}));
        this.#timer = device.world.queue.after(2 * responseWaitUs, () => this.#again());
      },
    });
  }

  /** A NWK command that is not about routes. */
  receiveCommand(received: Received): void {
    const device = this.#device;
    const command = decodeNwkCommand(received.payload);
    if (command.stopped !== undefined) return;
    if (command.kind === "rejoin-request" && device.isRouter && device.isMember) {
      this.#answerRejoin(received, command.capability);
    } else if (command.kind === "rejoin-response" && this.#state === "rejoining") {
      this.#rejoined(received, command.shortAddress, command.status);
    } else if (command.kind === "leave" && received.secured && command.request) {
      this.perform(device.joiner.removed());
    } else if (received.secured) {
      this.conflicts.receive(command);
    }
  }

  #answerRejoin({ frame, secured }: Received, capability: number): void {
    const device = this.#device;
    const address = frame.source;
    if (address === undefined) return;
    const kind = secured ? "secured-rejoin" : "unsecured-rejoin";
    const refused = device.trustCentre?.refusal(address, kind);
    if (refused !== undefined) {
      device.note(`refuses that ${address} rejoins: ${refused}`, "defence");
      return;
    }
    const short = device.parent.adopt(address, capability);
    if (short === undefined) return;
    device.nwk.send(encodeRejoinResponse(short, 0), {
      frameType: NwkFrameType.command,
      destination: frame.sourceShort,
      nextHop: frame.sourceShort,
      radius: 1,
      namesSource: true,
      secured,
    });
    device.keyExchange.childJoined(address, short, kind);
  }

  #rejoined(received: Received, short: number, status: number): void {
    const { place, joiner, world, networkKeys } = this.#device;
    const candidate = this.#candidate;
    if (candidate === undefined) return;
    if (this.#timer !== undefined) this.#timer.cancelled = true;
    if (status !== 0) {
      this.#again();
      return;
    }
    place.short = short;
    place.parent = received.previousHop;
    place.depth = (candidate.beacon.zigbee?.deviceDepth ?? 0) + 1;
    this.#state = "idle";
    this.#failures = 0;
    this.polling.reset();
    this.#device.note("is back in its network");
    world.truth.joins++;
    if (received.secured && networkKeys.active !== undefined) {
      this.perform(joiner.rejoined());
    } else {
      joiner.associated(world.queue.nowUs);
      world.queue.after(joiner.policy.authenticationUs, () => this.perform(joiner.expire(world.queue.nowUs)));
    }
    this.polling.start();
  }

  /** What the keys of the device make it do. */
  perform(actions: readonly JoiningAction[]): void {
    for (const action of actions) {
      switch (action.kind) {
        case "announce":
          this.#announce();
          break;
        case "leave":
          this.#left(action.reason);
          break;
        case "key-switched":
          break;
        case "request-link-key":
        case "verify-key":
          this.#device.keyExchange.perform(action);
          break;
        default:
          action satisfies never;
      }
    }
  }

  #announce(): void {
    const device = this.#device;
    const { place, world, plan } = device;
    if (this.joinedUs === undefined) {
      this.joinedUs = world.queue.nowUs;
      world.truth.joins++;
      device.note("has the network key");
      if (device.isRouter) {
        device.nwk.announceLinks();
        device.keyExchange.startTrustCentre();
        new ChannelWatch(device).start();
        device.parent.open(Math.max(0, world.scenario.security.permitSeconds - world.queue.nowUs / 1e6));
      }
      device.applications.start();
    }
    device.certificates?.begin();
    device.aps.send({
      destination: NwkBroadcast.listening,
      destinationEndpoint: 0,
      sourceEndpoint: 0,
      cluster: ZdpCluster.deviceAnnounce,
      profile: zdpProfile,
      payload: encodeDeviceAnnounce(device.random.below(256), {
        shortAddress: place.short,
        address: plan.address,
        capability: device.capability,
      }),
      acknowledged: false,
    });
  }

  #left(reason: "clear-key" | "time-limit" | "removed"): void {
    const device = this.#device;
    const trap = this.#candidate?.beacon.zigbee?.extendedPan;
    if (reason !== "removed" && trap !== undefined && trap !== device.world.scenario.extendedPan) {
      this.#avoided.add(trap);
    }
    device.note(`leaves: ${reason}`, reason === "removed" ? "harm" : "defence");
    device.place.short = noAddress;
    device.place.parent = undefined;
    device.mac.clear();
    this.#state = "joining";
    this.#again();
  }

  /** The MAC of somebody says that we are no member any more. It proves nothing. */
  disassociated(frame: MacFrame): void {
    const device = this.#device;
    if (!device.world.scenario.stack.obeysDisassociation) return;
    if (device.isRouter && frame.source !== undefined) {
      for (const child of device.nwk.children.values()) {
        if (child.address === frame.source) device.nwk.children.delete(child.short);
      }
      return;
    }
    if (device.joiner.isMember) this.perform(device.joiner.removed());
  }

  /** Somebody says that the network has moved. It proves nothing. */
  realigned(command: MacCommand): void {
    const { world, place, mac, joiner } = this.#device;
    if (!world.scenario.stack.obeysRealignment || !joiner.isMember || this.#device.isCoordinator) return;
    this.#device.note("follows a realignment to another channel", "harm");
    world.truth.trapped++;
    place.pan = command.pan;
    world.medium.tune(mac.radio, command.channel);
  }
}
