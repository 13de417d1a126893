import { type Device } from "./device.ts";

/** Unusable samples of the last ten seconds after which the channel is given up. */
const jammedMin = 6;
const samplesMax = 10;

/** Notices that a channel cannot be used any more, and gives it up. @see thesis 6.6 Physical Jamming */
export class ChannelWatch {
  readonly #device: Device;

  constructor(device: Device) {
    this.#device = device;
  }

  /** A coordinator or router looks whether its channel is usable, and moves or follows when it is not. */
  start(): void {
    const { world, mac, random } = this.#device;
    if (!world.scenario.stack.movesChannel) return;
    const samples: boolean[] = [];
    const look = (): void => {
      if (!mac.isOn) return;
      samples.push(mac.radio.energy.state !== "sending" && world.medium.isOccupied(mac.radio));
      if (samples.length > samplesMax) samples.shift();
      if (samples.filter(Boolean).length >= jammedMin) {
        samples.length = 0;
        this.#moveChannel();
      }
      world.queue.after(900_000 + random.below(200_000), look);
    };
    world.queue.after(1_000_000, look);
  }

  #moveChannel(): void {
    const { world, mac, isCoordinator } = this.#device;
    if (!isCoordinator) {
      this.#device.membership.rejoin();
      return;
    }
    const { channels } = world.scenario.stack;
    const next = channels[(channels.indexOf(mac.radio.channel) + 1) % channels.length];
    if (next === undefined || next === mac.radio.channel) return;
    this.#device.note(`moves the network to channel ${next}`, "defence");
    world.medium.tune(mac.radio, next);
  }
}
