import { type Timer } from "../event-queue.ts";
import { type Device } from "./device.ts";
import { type SendResult } from "./mac.ts";
import { noAddress } from "./nwk-types.ts";

/** Polling while an answer is expected. */
const fastPollUs = 250_000;
const failuresMax = 4;
/** A device that is listening all the time still asks its parent now and then whether it is there. */
const keepAliveUs = 30_000_000;
/** A parent that did not answer is asked again so soon, whatever the usual time. */
const unansweredUs = 2_000_000;
const restUs = 60_000_000;
const skippedWhenTired = 3;

/** How an end device asks its parent for frames, and when it stops listening to what proves nothing. @see Zigbee §3.6.10 */
export class Polling {
  readonly #device: Device;
  /** Whether it is in a network and does not look for one. */
  readonly #isSettled: () => boolean;
  readonly #onLost: () => void;
  #timer: Timer | undefined;
  #failures = 0;
  #rejectedInRow = 0;
  #skipped = 0;

  constructor(device: Device, how: { readonly isSettled: () => boolean; readonly onLost: () => void }) {
    this.#device = device;
    this.#isSettled = how.isSettled;
    this.#onLost = how.onLost;
  }

  /** Asks the parent for frames, again and again. */
  start(): void {
    const device = this.#device;
    if (this.#timer !== undefined) this.#timer.cancelled = true;
    if (device.isRouter || device.place.parent === undefined) return;
    const isBusy =
      this.#skipped === 0 &&
      (device.joiner.stage === "waiting" ||
        device.joiner.stage === "requested" ||
        device.joiner.stage === "verifying" ||
        device.certificates?.isWaiting === true ||
        device.aps.isWaiting);
    const usualUs = device.plan.sleeps ? device.plan.pollSeconds * 1_000_000 : keepAliveUs;
    const jitterUs = device.random.below(20_000);
    const idleUs = this.#failures > 0 ? Math.min(usualUs, unansweredUs) : usualUs * (1 + this.#skipped);
    this.#timer = device.world.queue.after((isBusy ? fastPollUs : idleUs) + jitterUs, () => {
      if (!this.#isSettled() || device.place.parent === undefined || !device.mac.isOn) return;
      device.mac.poll(device.place.parent, false, (result) => this.#polled(result));
    });
  }

  /** Something is expected: the next poll comes soon. */
  expectAnswer(): void {
    if (this.#isSettled()) this.start();
  }

  /** The parent is another one, or answers again. */
  reset(): void {
    this.#failures = 0;
  }

  #polled(result: SendResult): void {
    this.#failures = result === "sent" ? 0 : this.#failures + 1;
    if (this.#failures >= failuresMax && this.#device.joiner.isMember) {
      this.#failures = 0;
      this.#onLost();
      return;
    }
    this.start();
  }

  /** A frame was fetched; `pending`: there are more. */
  fetched(pending: boolean): void {
    const device = this.#device;
    if (!device.plan.sleeps) return;
    const isTired = this.#rejectedInRow >= device.world.scenario.stack.rejectedMax;
    if (!pending || isTired || device.place.parent === undefined) {
      device.mac.relax();
      return;
    }
    device.mac.poll(device.place.parent, device.place.short === noAddress, () => {});
  }

  /** A frame was dropped: it cost energy for nothing. After some of them the device sleeps longer. */
  rejected(): void {
    const { plan, world } = this.#device;
    if (!plan.sleeps || !Number.isFinite(world.scenario.stack.rejectedMax)) return;
    this.#rejectedInRow++;
    if (this.#rejectedInRow !== world.scenario.stack.rejectedMax) return;
    this.#device.note("stops listening for a while: too many frames that prove nothing", "defence");
    this.#skipped = skippedWhenTired;
    this.#device.mac.relax();
    world.queue.after(restUs, () => {
      this.#rejectedInRow = 0;
      this.#skipped = 0;
    });
  }
}
