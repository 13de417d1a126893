import type { Clock } from "@postern/core/clock";
import type { HintTable } from "@postern/knock/spa1/hint-table";
import { deriveKnockSecret, knockKeys, type KnockKeys } from "@postern/knock/spa1/keys";
import type { KnockingDevice, KnockPolicy } from "@postern/knock/spa1/verifier";

import type { BrokerMessage } from "./link/gate-link.ts";
import type { KnownDevice } from "./link/messages.ts";

/** How long devices are worked at before packets are looked at again. */
const sliceMs = 1;
/** Devices between two looks at the clock: some hundred microseconds. */
const devicesPerLook = 4;

export interface RosterParts {
  readonly clock: Clock;
  readonly table: HintTable<KnockingDevice>;
  /** Of which all devices' keys are derived. */
  readonly master: Uint8Array;
  /** A device may no longer come in by what it, or its former key, opened. */
  readonly onGone: (device: string) => void;
}

/**
 * Which devices may knock, as the server tells. Their keys and hints cost some 50 us each and are made in slices of a millisecond
 * between packets, so that no knock waits for the work that the others' keys are.
 */
export class Roster implements Disposable {
  readonly #parts: RosterParts;
  /** Devices of the complete list that is being told. */
  #listed: Set<string> | undefined;
  #isWorking = false;
  #isEnded = false;

  constructor(parts: RosterParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#parts.table.size;
  }

  /** Whether all devices can be recognised by now. */
  get isReady(): boolean {
    return !this.#isWorking;
  }

  /** A complete list that was begun will not be ended. */
  interrupt(): void {
    this.#listed = undefined;
  }

  /** Takes a part of a complete list; who is not in it is forgotten with the last part. */
  list({ first, last, devices }: Extract<BrokerMessage, { kind: "devices" }>): void {
    if (first) this.#listed = new Set();
    for (const device of devices) {
      this.know(device);
      this.#listed?.add(device.name);
    }
    if (!last || this.#listed === undefined) return;
    const listed = this.#listed;
    this.#listed = undefined;
    const gone = [...this.#parts.table.devices()].filter(({ name }) => !listed.has(name));
    for (const { name } of gone) this.forget(name);
  }

  know({ name, tenant, keyVersion, clockless, roaming, services, addresses }: KnownDevice): void {
    const { table, master, onGone } = this.#parts;
    const known = table.device(name);
    const policy = {
      roaming,
      services: services === null ? undefined : new Set(services),
      addresses: addresses === null ? undefined : new Set(addresses),
    };
    if (known?.tenant === tenant && known.keyVersion === keyVersion && known.clockless === clockless) {
      known.policy = policy;
      return;
    }
    // Whoever knocked with another key is not to come in by that.
    if (known !== undefined && known.keyVersion !== keyVersion) onGone(name);
    table.set(new Knocker({ name, tenant, keyVersion, clockless, policy }, master));
    this.#work();
  }

  forget(name: string): void {
    this.#parts.table.delete(name);
    this.#parts.onGone(name);
  }

  /** Follows the clock: costs nothing but once an hour. */
  advance(nowMs: number): void {
    this.#parts.table.advance(nowMs);
    this.#work();
  }

  [Symbol.dispose](): void {
    this.#isEnded = true;
  }

  #work(): void {
    if (this.#isWorking || this.#isEnded) return;
    const { table, clock } = this.#parts;
    if (!table.step(0)) return;
    this.#isWorking = true;
    const slice = (): void => {
      const endMs = clock.monotonicMs() + sliceMs;
      while (table.step(devicesPerLook) && clock.monotonicMs() < endMs);
      this.#isWorking = table.step(0) && !this.#isEnded;
      if (this.#isWorking) setImmediate(slice);
    };
    setImmediate(slice);
  }
}

/** A device whose keys are derived when they are first needed. */
class Knocker implements KnockingDevice {
  readonly name: string;
  readonly tenant: string;
  readonly keyVersion: number;
  readonly clockless: boolean;
  policy: KnockPolicy;
  readonly #master: Uint8Array;
  #keys: KnockKeys | undefined;

  constructor(
    { name, tenant, keyVersion, clockless, policy }: Omit<KnockingDevice, "keys">,
    master: Uint8Array,
  ) {
    this.name = name;
    this.tenant = tenant;
    this.keyVersion = keyVersion;
    this.clockless = clockless;
    this.policy = policy;
    this.#master = master;
  }

  get keys(): KnockKeys {
    const { tenant, name, keyVersion } = this;
    this.#keys ??= knockKeys(deriveKnockSecret(this.#master, { tenant, device: name, keyVersion }));
    return this.#keys;
  }
}
