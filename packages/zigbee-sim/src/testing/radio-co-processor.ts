import { EventEmitter } from "node:events";

import { crc16 } from "@postern/zigbee/crc16";
import { encodeAcknowledgment } from "@postern/zigbee/mac/encode-mac-frame";
import { decodeMacFrame, type MacFrame, MacFrameType } from "@postern/zigbee/mac/mac-frame";
import { MacCommandId } from "@postern/zigbee/mac/mac-command";
import { decodeSpinelFrame, encodeSpinelFrame } from "zigbee-on-host/dist/spinel/spinel.js";

import { type Timer } from "../event-queue.ts";
import { type Place, Radio } from "../radio/medium.ts";
import { acknowledgmentWaitUs, turnaroundUs } from "../radio/timing.ts";
import { type Simulation } from "../simulation.ts";

/** @see draft-rquattle-spinel-unified §4, §5 */
const Command = { reset: 1, valueGet: 2, valueSet: 3, valueIs: 6 } as const;
const Property = { lastStatus: 0, streamRaw: 113 } as const;
const Status = { ok: 0, noAcknowledgment: 17, resetSoftware: 114 } as const;

/** What a host asks a radio for when it starts: versions as packed integers, strengths in dBm. */
const values: ReadonlyMap<number, readonly number[]> = new Map([
  [1, [4, 3]],
  [2, [...Buffer.from("SIMULATED\0")]],
  [3, [3]],
  [176, [10]],
  [177, [4]],
  [36, [256 - 75]],
  [37, [5]],
  [38, [256 - 90]],
  [39, [256 - 96]],
]);

const attemptsMax = 4;

/** Seven bits a byte, least significant first. */
function packed(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...packed(value >> 7)];
}

function unpacked(bytes: Uint8Array): { readonly value: number; readonly length: number } {
  const [first = 0, second = 0] = bytes;
  return first < 0x80 ? { value: first, length: 1 } : { value: (first & 0x7f) | (second << 7), length: 2 };
}

interface Outgoing {
  readonly tid: number;
  readonly bytes: Uint8Array;
  attempts: number;
}

/**
 * A radio in the simulation whose host is another program's Zigbee stack: it speaks OpenThread's Spinel over HDLC, acknowledges by itself,
 * and announces to every device that asks that something waits for it, as radios without a list of children do.
 */
export class RadioCoProcessor extends EventEmitter<{ data: [data: Buffer] }> {
  readonly #simulation: Simulation;
  readonly #radio: Radio;
  readonly #address: { readonly pan: number; readonly extended: string };
  readonly #outgoing: Outgoing[] = [];
  #acknowledgment: Timer | undefined;
  #isBusy = false;

  constructor(
    simulation: Simulation,
    place: Place,
    address: { readonly pan: number; readonly extended: string },
  ) {
    super();
    this.#simulation = simulation;
    this.#address = address;
    this.#radio = new Radio("radio of another stack", place, simulation.scenario.channel, 4);
    this.#radio.onFrame = (bytes, rssi) => this.#receive(bytes, rssi);
    simulation.medium.attach(this.#radio);
    simulation.medium.setState(this.#radio, "listening");
  }

  /** Whether the host has given it something that is not on its way or acknowledged yet. */
  get isSending(): boolean {
    return this.#outgoing.length > 0;
  }

  /** What the host says. */
  write(data: Buffer): boolean {
    // A flag alone only empties what was there before.
    if (data.length > 1) this.#hear(data);
    return true;
  }

  #hear(data: Buffer): void {
    const { header, commandId, payload } = decodeSpinelFrame(data);
    const { tid } = header;
    if (commandId === Command.reset) {
      this.#say(0, Property.lastStatus, packed(Status.resetSoftware));
      return;
    }
    const { value: property, length } = unpacked(payload);
    if (commandId === Command.valueSet && property === Property.streamRaw) {
      const frameBytes = payload.readUInt16LE(length);
      const bytes = payload.subarray(length + 2, length + 2 + frameBytes - 2);
      this.#outgoing.push({ tid, bytes, attempts: 0 });
      this.#next();
    } else if (commandId === Command.valueSet) {
      this.#say(tid, property, payload.subarray(length));
    } else {
      this.#say(tid, property, values.get(property) ?? [0]);
    }
  }

  #say(tid: number, property: number, value: ArrayLike<number>): void {
    const payload = Buffer.from([...packed(property), ...Array.from(value)]);
    const frame = encodeSpinelFrame({ header: { tid, nli: 0, flg: 2 }, commandId: Command.valueIs, payload });
    // Never while the host is still saying something.
    setImmediate(() => this.emit("data", Buffer.from(frame)));
  }

  #next(): void {
    const [task] = this.#outgoing;
    if (this.#isBusy || task === undefined) return;
    this.#isBusy = true;
    const { queue } = this.#simulation;
    queue.after(500 + this.#simulation.random.below(2_000), () => this.#transmit(task));
  }

  #transmit(task: Outgoing): void {
    const { queue, medium } = this.#simulation;
    if (this.#radio.energy.state === "sending" || medium.isOccupied(this.#radio)) {
      queue.after(500, () => this.#transmit(task));
      return;
    }
    task.attempts++;
    medium.send(this.#radio, task.bytes, () => {
      medium.setState(this.#radio, "listening");
      if (((task.bytes[0] ?? 0) & 0x20) === 0) {
        this.#done(task, Status.ok);
        return;
      }
      this.#acknowledgment = queue.after(acknowledgmentWaitUs, () => {
        this.#acknowledgment = undefined;
        if (task.attempts < attemptsMax) this.#transmit(task);
        else this.#done(task, Status.noAcknowledgment);
      });
    });
  }

  #done(task: Outgoing, status: number): void {
    this.#outgoing.shift();
    this.#isBusy = false;
    this.#say(task.tid, Property.lastStatus, packed(status));
    this.#next();
  }

  #receive(bytes: Uint8Array, rssi: number): void {
    const frame = decodeMacFrame(bytes);
    if (frame.frameType === MacFrameType.acknowledgment) {
      if (this.#acknowledgment === undefined || frame.sequence !== this.#outgoing[0]?.bytes[2]) return;
      this.#acknowledgment.cancelled = true;
      this.#acknowledgment = undefined;
      this.#done(this.#outgoing[0], Status.ok);
      return;
    }
    if (!this.#isForUs(frame)) return;
    if (frame.acknowledgmentRequest) {
      const isPoll =
        frame.frameType === MacFrameType.command && bytes[frame.payloadStart] === MacCommandId.dataRequest;
      this.#acknowledge(frame.sequence, isPoll);
    }
    const check = crc16(bytes, 0, bytes.length);
    const length = bytes.length + 2;
    const metadata = [rssi & 0xff, 256 - 98, 0, 0];
    this.#say(0, Property.streamRaw, [
      length & 0xff,
      length >> 8,
      ...bytes,
      check & 0xff,
      check >> 8,
      ...metadata,
    ]);
  }

  #isForUs(frame: MacFrame): boolean {
    const { pan, extended } = this.#address;
    if (frame.destinationPan !== pan && frame.destinationPan !== 0xffff) return false;
    return (
      frame.destination === extended || frame.destinationShort === 0 || frame.destinationShort === 0xffff
    );
  }

  #acknowledge(sequence: number, pending: boolean): void {
    const { queue, medium } = this.#simulation;
    queue.after(turnaroundUs, () => {
      if (this.#radio.energy.state === "sending") return;
      medium.send(this.#radio, encodeAcknowledgment(sequence, pending), () =>
        medium.setState(this.#radio, "listening"),
      );
    });
  }
}
