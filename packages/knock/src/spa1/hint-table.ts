import { clocklessEpoch, hintBytes, hintEpoch, hintOf, type KnockKeys } from "./keys.ts";

/** A device in the table. */
export interface HintedDevice {
  readonly name: string;
  readonly keys: KnockKeys;
  /** Whether its packets may come without a clock. */
  readonly clockless: boolean;
}

interface Epoch<Device> {
  readonly epoch: number;
  readonly devices: Map<string, Device>;
  /** Walks the devices whose hints are still to be made; `undefined` when all are. */
  cursor: Iterator<Device> | undefined;
}

/**
 * Finds the device that a packet comes from by its first 8 bytes: the hints of all devices for the hour before, this hour and the
 * next, so that a device's clock may be wrong by an hour at the most. A look-up costs a few table look-ups and no cryptography.
 *
 * Hints cost some microseconds each; they are made in `step`, between packets, and an hour before they are needed.
 */
export class HintTable<Device extends HintedDevice> {
  /** Called with each hint that is made: 8 bytes, and the hour they are for. Those of devices without a clock are told each hour. */
  onHint: ((hint: Uint8Array, epoch: number) => void) | undefined;
  readonly #devices = new Map<string, Device>();
  readonly #clockless = new Map<string, Device>();
  /** Devices that came after the hints of an epoch were made. */
  #late: Device[] = [];
  #epochs: Epoch<Device>[] = [];
  #now: number;

  constructor(nowMs: number) {
    this.#now = hintEpoch(nowMs);
    this.#renew();
  }

  get size(): number {
    return this.#devices.size;
  }

  device(name: string): Device | undefined {
    return this.#devices.get(name);
  }

  devices(): IterableIterator<Device> {
    return this.#devices.values();
  }

  /** Adds a device, or replaces the one of its name, whose packets are unknown from now on. Its own are known after `step`. */
  set(device: Device): void {
    this.delete(device.name);
    this.#devices.set(device.name, device);
    this.#late.push(device);
  }

  /** From now on, its packets are of an unknown device. */
  delete(name: string): void {
    const device = this.#devices.get(name);
    if (device === undefined) return;
    this.#devices.delete(name);
    for (const { epoch, devices } of this.#epochs) devices.delete(tableKey(hintOf(device.keys, epoch)));
    if (device.clockless) this.#clockless.delete(tableKey(hintOf(device.keys, clocklessEpoch)));
  }

  /** The device whose hint the packet begins with. */
  find(packet: Uint8Array): Device | undefined {
    if (packet.length < hintBytes) return undefined;
    const key = tableKey(packet);
    for (const { devices } of this.#epochs) {
      const device = devices.get(key);
      if (device !== undefined) return device;
    }
    return this.#clockless.get(key);
  }

  /** Follows the clock; costs nothing but once an hour, and then little. */
  advance(nowMs: number): void {
    const epoch = hintEpoch(nowMs);
    if (epoch === this.#now) return;
    this.#now = epoch;
    this.#renew();
  }

  /** Makes the hints of up to `devicesMax` devices. @returns whether there are more to make. */
  step(devicesMax: number): boolean {
    let left = devicesMax;
    while (left > 0 && this.#late.length > 0) {
      left--;
      const device = this.#late.pop();
      if (device !== undefined) this.#addLate(device);
    }
    for (const each of this.#epochs) {
      while (left > 0 && each.cursor !== undefined) {
        left--;
        const { done, value } = each.cursor.next();
        if (done === true) each.cursor = undefined;
        else this.#add(each, value);
      }
    }
    return this.#late.length > 0 || this.#epochs.some(({ cursor }) => cursor !== undefined);
  }

  /** All hints that are made, each with its hour. */
  *hints(): Generator<readonly [hint: Uint8Array, epoch: number]> {
    for (const { epoch, devices } of this.#epochs) {
      for (const key of devices.keys()) yield [Buffer.from(key, "latin1"), epoch];
    }
    for (const key of this.#clockless.keys()) yield [Buffer.from(key, "latin1"), clocklessEpoch];
  }

  #addLate(device: Device): void {
    // It may have been removed or replaced meanwhile.
    if (this.#devices.get(device.name) !== device) return;
    for (const { epoch, devices, cursor } of this.#epochs) {
      // A cursor that still walks comes to it by itself.
      if (cursor === undefined) this.#add({ epoch, devices }, device);
    }
    if (!device.clockless) return;
    const hint = hintOf(device.keys, clocklessEpoch);
    this.#clockless.set(tableKey(hint), device);
    this.onHint?.(hint, clocklessEpoch);
  }

  #add({ epoch, devices }: Pick<Epoch<Device>, "epoch" | "devices">, device: Device): void {
    const hint = hintOf(device.keys, epoch);
    devices.set(tableKey(hint), device);
    this.onHint?.(hint, epoch);
  }

  #renew(): void {
    const wanted = [this.#now, this.#now + 1, this.#now - 1].filter((epoch) => epoch >= 0);
    this.#epochs = wanted.map(
      (epoch) =>
        this.#epochs.find((known) => known.epoch === epoch) ?? {
          epoch,
          devices: new Map(),
          cursor: this.#devices.values(),
        },
    );
    for (const key of this.#clockless.keys()) this.onHint?.(Buffer.from(key, "latin1"), clocklessEpoch);
  }
}

/** The first 8 bytes as a key for a table: one character for each byte. */
function tableKey(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, hintBytes).toString("latin1");
}
