import { type Eui64 } from "@postern/zigbee/eui64";
import { encodeAcknowledgment, encodeMacFrame, type MacAddress } from "@postern/zigbee/mac/encode-mac-frame";
import { MacCommandId } from "@postern/zigbee/mac/mac-command";
import { decodeMacFrame, type MacFrame, MacFrameType } from "@postern/zigbee/mac/mac-frame";

import { type EventQueue, type Timer } from "../event-queue.ts";
import { type Medium, type Radio } from "../radio/medium.ts";
import {
  acknowledgmentWaitUs,
  backoffUnitUs,
  channelAssessmentUs,
  indirectWaitUs,
  pendingFrameWaitUs,
  turnaroundUs,
} from "../radio/timing.ts";
import { type Random } from "../random.ts";

/** What became of a frame that was to be sent. */
export type SendResult = "sent" | "no-acknowledgement" | "channel-occupied" | "not-fetched" | "queue-full";

/** A frame to be sent; `destination` and `payload` become a MAC frame when it is its turn. */
export interface MacRequest {
  readonly frameType: number;
  readonly destination: { readonly pan: number; readonly address: MacAddress } | undefined;
  readonly source: { readonly pan: number; readonly address: MacAddress } | undefined;
  readonly payload: Uint8Array;
  readonly acknowledgmentRequest: boolean;
  readonly onDone?: (result: SendResult, framePending: boolean) => void;
}

interface Task extends MacRequest {
  readonly sequence: number;
  readonly framePending: boolean;
  attempts: number;
}

interface Waiting {
  readonly request: MacRequest;
  readonly timer: Timer;
}

/** Parameters of CSMA/CA and of sending again, at their defaults. @see IEEE 802.15.4-2006 Table 86 */
const backoffExponentMin = 3;
const backoffExponentMax = 5;
const backoffsMax = 4;
const retriesMax = 3;
const tasksMax = 32;
/** Frames that wait for sleeping devices. */
const waitingMax = 16;
const broadcast = 0xffff;
/** Time of the processor for a received frame, and for waking up. Chosen so that a poll costs some 70 microcoulombs. */
const frameWorkUs = 700;
const wakeWorkUs = 4_400;
/** A sender repeats a frame within this time or never. */
const repetitionUs = 250_000;

/** Who a MAC is, asked anew each time: addresses change when a device joins or a network moves. */
export interface MacIdentity {
  readonly pan: number;
  readonly short: number;
  readonly extended: Eui64;
}

/** The MAC of one device: sending with CSMA/CA, acknowledgements, frames for sleeping children, polling. @see IEEE 802.15.4-2006 §7.5 */
export class Mac {
  readonly radio: Radio;
  readonly #queue: EventQueue;
  readonly #medium: Medium;
  readonly #random: Random;
  readonly #identity: () => MacIdentity;
  /** Sleeping devices have their receiver off unless something is expected. */
  receiverOnWhenIdle: boolean;
  /** Called with each frame for this device, or for all. */
  onFrame: (frame: MacFrame, bytes: Uint8Array, rssi: number) => void = () => {};
  /** The device of this address polls: whether frames wait for it beyond those that the MAC knows of. */
  onPoll: (source: MacAddress) => void = () => {};
  readonly #tasks: Task[] = [];
  readonly #waiting = new Map<MacAddress, Waiting[]>();
  readonly #received = new Map<MacAddress, { readonly sequence: number; readonly atUs: number }>();
  #current: Task | undefined;
  #acknowledgement: Timer | undefined;
  #sequence: number;
  #awakeUntilUs = 0;
  #isOn = true;
  /** Frames sent, sent again, given up, and polls. */
  readonly counts = { sent: 0, repeated: 0, failed: 0, polls: 0, received: 0 };

  constructor(parts: {
    readonly radio: Radio;
    readonly queue: EventQueue;
    readonly medium: Medium;
    readonly random: Random;
    readonly identity: () => MacIdentity;
    readonly receiverOnWhenIdle: boolean;
  }) {
    this.radio = parts.radio;
    this.#queue = parts.queue;
    this.#medium = parts.medium;
    this.#random = parts.random;
    this.#identity = parts.identity;
    this.receiverOnWhenIdle = parts.receiverOnWhenIdle;
    this.#sequence = parts.random.below(256);
    parts.radio.onFrame = (bytes, rssi) => this.#receive(bytes, rssi);
    this.#medium.attach(parts.radio);
    this.#rest();
  }

  /** Switches the whole device off or on, as a battery that is taken out. */
  power(isOn: boolean): void {
    this.#isOn = isOn;
    this.#rest();
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** Keeps the receiver on for a while, though the device sleeps otherwise. */
  stayAwake(durationUs: number): void {
    this.#awakeUntilUs = Math.max(this.#awakeUntilUs, this.#queue.nowUs + durationUs);
    this.#rest();
    this.#queue.at(this.#awakeUntilUs, () => this.#rest());
  }

  /** Nothing more is expected: a sleeping device goes back to sleep. */
  relax(): void {
    this.#awakeUntilUs = this.#queue.nowUs;
    this.#rest();
  }

  /** Sends a frame when those before it are done. */
  send(request: MacRequest): void {
    this.#enqueue(request, false);
  }

  /** Keeps a frame until the device `child` asks for it. */
  sendIndirect(child: MacAddress, request: MacRequest): void {
    const list = this.#waiting.get(child) ?? [];
    const total = [...this.#waiting.values()].reduce((sum, { length }) => sum + length, 0);
    if (total >= waitingMax) {
      request.onDone?.("queue-full", false);
      return;
    }
    const timer = this.#queue.after(indirectWaitUs, () => {
      this.#waiting.set(
        child,
        (this.#waiting.get(child) ?? []).filter((waiting) => waiting.timer !== timer),
      );
      request.onDone?.("not-fetched", false);
    });
    list.push({ request, timer });
    this.#waiting.set(child, list);
  }

  /** Asks the parent for frames; `byExtended` while the device has no short address. */
  poll(
    parent: MacAddress,
    byExtended: boolean,
    onDone: (result: SendResult, pending: boolean) => void,
  ): void {
    const { pan, short, extended } = this.#identity();
    this.counts.polls++;
    this.radio.energy.work(wakeWorkUs);
    this.send({
      frameType: MacFrameType.command,
      destination: { pan, address: parent },
      source: { pan, address: byExtended ? extended : short },
      payload: Uint8Array.of(MacCommandId.dataRequest),
      acknowledgmentRequest: true,
      onDone: (result, pending) => {
        if (pending) this.stayAwake(pendingFrameWaitUs);
        onDone(result, pending);
      },
    });
  }

  /** Forgets everything that was to be sent. */
  clear(): void {
    this.#tasks.length = 0;
    for (const list of this.#waiting.values()) for (const { timer } of list) timer.cancelled = true;
    this.#waiting.clear();
  }

  #enqueue(request: MacRequest, framePending: boolean): void {
    if (!this.#isOn) return;
    if (this.#tasks.length >= tasksMax) {
      request.onDone?.("queue-full", false);
      return;
    }
    this.#sequence = (this.#sequence + 1) & 0xff;
    this.#tasks.push({ ...request, sequence: this.#sequence, framePending, attempts: 0 });
    this.#next();
  }

  #next(): void {
    if (this.#current !== undefined) return;
    this.#current = this.#tasks.shift();
    if (this.#current !== undefined) this.#backOff(this.#current, 0, backoffExponentMin);
    else this.#rest();
  }

  /** Waits a random time, then listens whether the channel is free. @see IEEE 802.15.4-2006 §7.5.1.4 */
  #backOff(task: Task, backoffs: number, exponent: number): void {
    this.#queue.after(this.#random.below(2 ** exponent) * backoffUnitUs, () => {
      if (this.#abandoned(task)) return;
      if (this.radio.energy.state !== "sending") this.#medium.setState(this.radio, "listening");
      this.#queue.after(channelAssessmentUs, () => {
        if (this.#abandoned(task)) return;
        const occupied = this.radio.energy.state === "sending" || this.#medium.isOccupied(this.radio);
        if (!occupied) {
          this.#queue.after(turnaroundUs, () => this.#transmit(task));
        } else if (backoffs >= backoffsMax) {
          this.#finish(task, "channel-occupied", false);
        } else {
          this.#backOff(task, backoffs + 1, Math.min(exponent + 1, backoffExponentMax));
        }
      });
    });
  }

  /** A device that was switched off meanwhile sends nothing. */
  #abandoned(task: Task): boolean {
    if (this.#isOn && this.#current === task) return false;
    if (this.#current === task) this.#current = undefined;
    return true;
  }

  #transmit(task: Task): void {
    if (this.#abandoned(task)) return;
    if (this.radio.energy.state === "sending") {
      this.#backOff(task, 0, backoffExponentMin);
      return;
    }
    const bytes = encodeMacFrame(task, task.payload);
    if (task.attempts++ > 0) this.counts.repeated++;
    this.counts.sent++;
    this.#medium.send(this.radio, bytes, () => {
      if (!task.acknowledgmentRequest) {
        this.#finish(task, "sent", false);
        return;
      }
      this.#medium.setState(this.radio, "listening");
      this.#acknowledgement = this.#queue.after(acknowledgmentWaitUs, () => {
        this.#acknowledgement = undefined;
        if (this.#abandoned(task)) return;
        if (task.attempts > retriesMax) this.#finish(task, "no-acknowledgement", false);
        else this.#backOff(task, 0, backoffExponentMin);
      });
    });
  }

  #finish(task: Task, result: SendResult, pending: boolean): void {
    this.#current = undefined;
    if (result !== "sent") this.counts.failed++;
    task.onDone?.(result, pending);
    this.#next();
  }

  #receive(bytes: Uint8Array, rssi: number): void {
    if (!this.#isOn) return;
    const frame = decodeMacFrame(bytes);
    if (frame.stopped !== undefined) return;
    if (frame.frameType === MacFrameType.acknowledgment) {
      this.#seeAcknowledgment(frame);
      return;
    }
    const { pan, short, extended } = this.#identity();
    const isBroadcast = frame.destinationShort === broadcast || frame.frameType === MacFrameType.beacon;
    const forUs =
      frame.destination === extended || (frame.destinationShort !== -1 && frame.destinationShort === short);
    const ourPan =
      frame.destinationPan === pan ||
      frame.destinationPan === 0xffff ||
      frame.frameType === MacFrameType.beacon;
    if (!ourPan || (!isBroadcast && !forUs)) return;
    this.counts.received++;
    this.radio.energy.work(frameWorkUs);
    const source = frame.source ?? frame.sourceShort;
    const isPoll =
      frame.frameType === MacFrameType.command && bytes[frame.payloadStart] === MacCommandId.dataRequest;
    if (isPoll) this.onPoll(source);
    if (frame.acknowledgmentRequest && !isBroadcast) {
      const pending = isPoll && (this.#waiting.get(source)?.length ?? 0) > 0;
      this.#acknowledge(frame.sequence, pending);
    }
    if (isPoll) {
      this.#serve(source);
      return;
    }
    if (frame.acknowledgmentRequest && this.#isRepetition(source, frame.sequence)) return;
    this.onFrame(frame, bytes, rssi);
  }

  #acknowledge(sequence: number, pending: boolean): void {
    this.#queue.after(turnaroundUs, () => {
      if (!this.#isOn || this.radio.energy.state === "sending") return;
      this.#medium.send(this.radio, encodeAcknowledgment(sequence, pending), () => this.#rest());
    });
  }

  #isRepetition(source: MacAddress, sequence: number): boolean {
    const { nowUs } = this.#queue;
    const before = this.#received.get(source);
    this.#received.set(source, { sequence, atUs: nowUs });
    return before?.sequence === sequence && nowUs - before.atUs < repetitionUs;
  }

  #seeAcknowledgment(frame: MacFrame): void {
    const task = this.#current;
    if (task === undefined || this.#acknowledgement === undefined || frame.sequence !== task.sequence) return;
    this.#acknowledgement.cancelled = true;
    this.#acknowledgement = undefined;
    this.#finish(task, "sent", frame.framePending);
  }

  #serve(child: MacAddress): void {
    const list = this.#waiting.get(child);
    const next = list?.shift();
    if (list === undefined || next === undefined) return;
    next.timer.cancelled = true;
    this.#enqueue(next.request, list.length > 0);
  }

  /** What the radio does when nothing is to be done. */
  #rest(): void {
    const { state } = this.radio.energy;
    if (state === "sending") return;
    if (!this.#isOn) {
      this.#medium.setState(this.radio, "asleep");
    } else if (this.receiverOnWhenIdle || this.#queue.nowUs < this.#awakeUntilUs) {
      this.#medium.setState(this.radio, "listening");
    } else if (this.#current !== undefined) {
      if (this.#acknowledgement === undefined && state === "listening")
        this.#medium.setState(this.radio, "awake");
    } else {
      this.#medium.setState(this.radio, "asleep");
    }
  }
}
