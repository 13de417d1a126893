import { rmSync } from "node:fs";
import { dirname, join } from "node:path";

import { isDeviceName } from "@postern/pki/device-uri";
import { z } from "zod";

import { deviceSchema, newDevice, type Device, type DeviceCertificate } from "./device.ts";
import { PkiFileError } from "./errors.ts";
import { attempt, readTextIfThere } from "./files.ts";
import { emptyJournal, Journal } from "./journal.ts";

const header = { postern: 1, file: "devices" } as const;

/** The file of a registry without devices. */
export const emptyRegistry = emptyJournal(header);

/** All that one change puts in the place of what was there, in one line so that it holds as a whole or not at all. */
const entrySchema = z.strictObject({ put: z.array(deviceSchema) });

/** Lines that say something newer lines say otherwise may outnumber the others so many times, and by so much, before they go. */
const staleFactor = 4;
const staleMin = 10_000;

/** A certificate and the device it belongs to. Whether either is still good is another question: see `refusalOfDevice` and `refusalOfCertificate`. */
export interface KnownCertificate {
  readonly device: Device;
  readonly certificate: DeviceCertificate;
}

/** What became of one device; `before` is `undefined` for a new one. */
export interface DeviceChange {
  readonly before: Device | undefined;
  readonly after: Device;
}

/**
 * Which devices there are and by what they are known. Held in memory, found by each of their marks; a change costs one
 * line on disk however many devices there are, and is there before it counts. One process at a time may open it: whoever
 * does holds the lock of the data directory.
 */
export class DeviceRegistry {
  readonly #journal: Journal;
  readonly #devices = new Map<string, Device>();
  readonly #byFingerprint = new Map<string, KnownCertificate>();
  readonly #bySerialNumber = new Map<string, KnownCertificate>();
  readonly #byKeyId = new Map<string, KnownCertificate>();
  readonly #byPskIdentity = new Map<string, Device>();
  readonly #listeners = new Set<(changes: readonly DeviceChange[]) => void>();
  /** Devices of which the disk does not have what holds here. */
  readonly #unwritten = new Set<string>();

  /**
   * Reads the file, `devices.jsonl`; a missing one is an empty registry. Read only, it may be looked at while another process has it
   * open. @throws {PkiFileError} when it is damaged.
   */
  constructor(path: string, { readOnly = false }: { readonly readOnly?: boolean } = {}) {
    this.#journal = new Journal({
      path,
      readOnly,
      header,
      title: "the list of devices",
      take: (entry) => this.#take(entry),
    });
    if (readOnly) return;
    if (!this.#journal.exists) this.#migrate(join(dirname(path), "devices.json"));
    this.#compact(1, 0);
  }

  get count(): number {
    return this.#devices.size;
  }

  /** Whether there was ever a device. */
  get exists(): boolean {
    return this.count > 0;
  }

  /** All of them, the removed ones too, in no order. */
  all(): IterableIterator<Device> {
    return this.#devices.values();
  }

  /** By name, the removed ones too. */
  find(name: string): Device | undefined {
    return this.#devices.get(name);
  }

  findByFingerprint(fingerprint: string): KnownCertificate | undefined {
    return this.#byFingerprint.get(fingerprint);
  }

  findBySerialNumber(serialNumber: string): KnownCertificate | undefined {
    return this.#bySerialNumber.get(serialNumber);
  }

  /** The device that has or had this key, by the newest of its certificates for it. */
  findByKeyId(keyId: string): KnownCertificate | undefined {
    return this.#byKeyId.get(keyId);
  }

  findByPskIdentity(identity: string): Device | undefined {
    return this.#byPskIdentity.get(identity);
  }

  /** Adds a device, or replaces the one of the same name. @throws as {@link putAll}. */
  put(device: Device): void {
    this.putAll([device]);
  }

  /** Replaces a device by what `change` makes of it as it is now. @throws as {@link putAll}; `RangeError` when there is none. */
  change(name: string, change: (device: Device) => Device): Device {
    const before = this.find(name);
    if (before === undefined) throw new RangeError(`there is no device "${name}"`);
    const after = change(before);
    if (after.name !== name) throw new RangeError(`a device keeps its name: "${name}"`);
    this.put(after);
    return after;
  }

  /**
   * Adds or replaces devices, all in one step that is on disk when this returns; then tells those that listen.
   * @throws {RangeError} for a device that breaks the schema or has a certificate, key or PSK identity of another;
   * {@link DataDirectoryError} when the disk refuses. Nothing has changed then.
   */
  putAll(devices: readonly Device[]): void {
    for (const device of devices) this.#check(device);
    this.#append(devices);
    this.#apply(devices);
  }

  /**
   * Replaces a device by one that is trusted less. That counts also when the disk refuses, so that nobody escapes by filling it: in
   * memory from now on, and on disk with the next change that is written.
   * @throws {RangeError} as {@link putAll}; {@link DataDirectoryError} when the disk refuses, after those that listen were told.
   */
  distrust(device: Device): void {
    this.#check(device);
    try {
      this.#append([device]);
    } catch (thrown) {
      this.#unwritten.add(device.name);
      this.#apply([device]);
      throw thrown;
    }
    this.#apply([device]);
  }

  /** Whether the disk has what holds here of a device. */
  isWritten(name: string): boolean {
    return !this.#unwritten.has(name);
  }

  #append(devices: readonly Device[]): void {
    const names = new Set(devices.map(({ name }) => name));
    const others = [...this.#unwritten].flatMap((name) => (names.has(name) ? [] : (this.find(name) ?? [])));
    this.#journal.append({ put: [...others, ...devices] });
    this.#unwritten.clear();
  }

  #apply(devices: readonly Device[]): void {
    const changes = devices.map((after): DeviceChange => ({ before: this.find(after.name), after }));
    for (const device of devices) this.#index(device);
    for (const listener of this.#listeners) listener(changes);
  }

  /** Tells `listener` of every change once it is on disk, within the call that made it. It must not throw. */
  onChange(listener: (changes: readonly DeviceChange[]) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Drops from the file what newer lines replaced, when there is much of it. @throws {DataDirectoryError} and changes nothing. */
  compact(): void {
    this.#compact(staleFactor, staleMin);
  }

  /** Gives the file back; nothing can be changed any more. */
  close(): void {
    this.#journal.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #check(device: Device): void {
    const result = deviceSchema.safeParse(device);
    if (!result.success)
      throw new RangeError(`the device "${device.name}" cannot be: ${problemOf(result.error)}`);
    const others = [
      ...device.certificates.map(({ fingerprint }) => this.#byFingerprint.get(fingerprint)?.device),
      ...device.certificates.map(({ keyId = "" }) => this.#byKeyId.get(keyId)?.device),
      device.psk === undefined ? undefined : this.#byPskIdentity.get(device.psk.identity),
    ];
    const other = others.find((found) => found !== undefined && found.name !== device.name);
    if (other !== undefined)
      throw new RangeError(`"${device.name}" cannot have what "${other.name}" is known by`);
  }

  #index(device: Device): void {
    const before = this.#devices.get(device.name);
    for (const { fingerprint, serialNumber, keyId = "" } of before?.certificates ?? []) {
      this.#byFingerprint.delete(fingerprint);
      this.#bySerialNumber.delete(serialNumber);
      this.#byKeyId.delete(keyId);
    }
    if (before?.psk !== undefined) this.#byPskIdentity.delete(before.psk.identity);
    this.#devices.set(device.name, device);
    for (const certificate of device.certificates) {
      const known = { device, certificate };
      this.#byFingerprint.set(certificate.fingerprint, known);
      this.#bySerialNumber.set(certificate.serialNumber, known);
      if (certificate.keyId !== undefined) this.#byKeyId.set(certificate.keyId, known);
    }
    if (device.psk !== undefined) this.#byPskIdentity.set(device.psk.identity, device);
  }

  #take(value: unknown): void {
    const result = entrySchema.safeParse(value);
    if (!result.success) throw new Error(problemOf(result.error));
    for (const device of result.data.put) this.#index(device);
  }

  #compact(factor: number, min: number): void {
    const stale = this.#journal.entries - this.#devices.size;
    if (stale <= Math.max(this.#devices.size * factor, min)) return;
    this.#journal.rewrite(this.#entries());
    this.#unwritten.clear();
  }

  *#entries(): IterableIterator<{ readonly put: readonly Device[] }> {
    for (const device of this.#devices.values()) yield { put: [device] };
  }

  /** Takes over the one file that all devices were written to at once before there was the journal. */
  #migrate(path: string): void {
    const text = readTextIfThere(path);
    if (text === undefined) return;
    for (const device of parseFormerFile(path, text)) this.#index(device);
    this.#journal.rewrite(this.#entries());
    attempt(`remove ${path}`, () => rmSync(path));
  }
}

function problemOf({ issues: [issue] }: z.ZodError): string {
  return `"${issue?.path.join(".") ?? ""}": ${issue?.message ?? ""}`;
}

/** `devices.json` of data directories made before there were roles; its devices could do everything. */
const formerSchema = z.strictObject({
  postern: z.literal(1),
  devices: z.array(
    z.strictObject({
      name: z.string().refine(isDeviceName),
      tenant: z.string().refine(isDeviceName),
      created: z.iso.datetime(),
      removed: z.iso.datetime().optional(),
      certificates: z.array(
        z.strictObject({
          fingerprint: z.string().regex(/^[0-9A-F]{2}(:[0-9A-F]{2}){31}$/),
          serialNumber: z.string().regex(/^[0-9A-F]+$/),
          notAfter: z.iso.datetime(),
        }),
      ),
    }),
  ),
});

function parseFormerFile(path: string, text: string): readonly Device[] {
  const damaged = (problem: string): PkiFileError =>
    new PkiFileError(
      `${path}, the list of devices, is damaged (${problem}): put it back from a backup, or from the copy before the last edit`,
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged("no JSON");
  }
  const result = formerSchema.safeParse(value);
  if (!result.success) throw damaged(problemOf(result.error));
  return result.data.devices.map((device) =>
    Object.assign(
      newDevice({ name: device.name, tenant: device.tenant, roles: ["administrator"] }, 0),
      device,
    ),
  );
}
