import { encodeNetworkReport, encodeNetworkUpdate } from "@postern/zigbee/nwk/encode-nwk-command";
import { type NwkCommand } from "@postern/zigbee/nwk/nwk-command";
import { NwkFrameType } from "@postern/zigbee/nwk/nwk-frame";

import { type Device, type HeardBeacon } from "./device.ts";
import { NwkBroadcast } from "./nwk-types.ts";

/** Time for everybody to hear of a new PAN id before it is used. @see Zigbee nwkNetworkBroadcastDeliveryTime */
const announcementUs = 9_000_000;

/** What devices do when another network with their PAN id is heard. @see Zigbee §3.6.1.13 */
export class PanConflicts {
  readonly #device: Device;
  #holdUntilUs = 0;
  #reportedUs = Number.NEGATIVE_INFINITY;
  /** How often the network got another PAN id. */
  moves = 0;

  constructor(device: Device) {
    this.#device = device;
  }

  /** A beacon that nobody here has asked for. */
  heardBeacon({ pan, beacon }: HeardBeacon): void {
    const { place, world, isCoordinator, isRouter, nwk } = this.#device;
    const foreign = beacon.zigbee?.extendedPan;
    if (!world.scenario.stack.resolvesPanConflicts || !isRouter || !this.#device.isMember) return;
    if (pan !== place.pan || foreign === undefined || foreign === place.extendedPan) return;
    if (isCoordinator) {
      this.#move();
    } else if (world.queue.nowUs - this.#reportedUs > announcementUs) {
      this.#reportedUs = world.queue.nowUs;
      const report = encodeNetworkReport(place.extendedPan, [place.pan]);
      nwk.send(report, { frameType: NwkFrameType.command, destination: world.hub.short });
    }
  }

  receive(command: NwkCommand): void {
    const { place, isCoordinator } = this.#device;
    if (command.kind === "network-report" && isCoordinator) this.#move();
    if (command.kind !== "network-update" || command.extendedPan !== place.extendedPan) return;
    const [pan] = command.panIds;
    if (pan !== undefined) this.#use(pan);
  }

  #move(): void {
    const { world, random, nwk, place } = this.#device;
    const { nowUs } = world.queue;
    if (nowUs < this.#holdUntilUs) return;
    // One change at a time, and then as long as the settings say.
    this.#holdUntilUs = nowUs + Math.max(announcementUs, world.scenario.stack.panConflictHoldUs);
    const pan = 1 + random.below(0xfffd);
    this.moves++;
    this.#device.note(`gives the network the PAN id 0x${pan.toString(16).padStart(4, "0")}`, "harm");
    const update = encodeNetworkUpdate(place.extendedPan, (place.updateId + 1) & 0xff, pan);
    nwk.send(update, { frameType: NwkFrameType.command, destination: NwkBroadcast.all });
    this.#use(pan);
  }

  #use(pan: number): void {
    const { world, place } = this.#device;
    world.queue.after(announcementUs, () => {
      place.pan = pan;
      place.updateId = (place.updateId + 1) & 0xff;
    });
  }
}
