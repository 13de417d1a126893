import type { Socket } from "node:net";

import { type TimerWheel, WheelTimer } from "../timer-wheel.ts";

type Kept = Pick<Socket, "setKeepAlive">;

/** How long a connection has lasted before the kernel is told to ask after it. */
const lateMs = 5_000;
/** How long a peer says nothing before the kernel asks whether it is still there. */
const silentMs = 60_000;
const lookMs = 100;
/** Sockets told about in one look: so many at least, and of more of them the share that gets all of them told within seconds. */
const looksMin = 100;
const looksShare = 1 / 50;

/**
 * Turns on TCP keep-alive for connections that last. It takes four system calls, a tenth of what a connection costs that comes,
 * says one thing and goes.
 */
export class LateKeepAlive {
  readonly #wheel: TimerWheel;
  /** By the time they came (monotonic ms), the oldest first. */
  readonly #young = new Map<Kept, number>();
  readonly #timer = new WheelTimer(() => this.#look());

  constructor(wheel: TimerWheel) {
    this.#wheel = wheel;
  }

  add(socket: Kept): void {
    if (this.#young.size === 0) this.#wheel.set(this.#timer, lateMs);
    this.#young.set(socket, this.#wheel.nowMs);
  }

  /** It has ended. */
  delete(socket: Kept): void {
    this.#young.delete(socket);
  }

  #look(): void {
    const youngestMs = this.#wheel.nowMs - lateMs;
    let left = Math.max(looksMin, Math.ceil(this.#young.size * looksShare));
    for (const [socket, cameMs] of this.#young) {
      if (left === 0 || cameMs > youngestMs) break;
      left -= 1;
      this.#young.delete(socket);
      socket.setKeepAlive(true, silentMs);
    }
    if (this.#young.size > 0) this.#wheel.set(this.#timer, lookMs);
  }
}
