import { existsSync } from "node:fs";

import { isDeviceName } from "@postern/pki/device-uri";
import { z } from "zod";

import { PkiFileError } from "./errors.ts";
import { readTextIfThere, replacePrivateFile } from "./files.ts";

const registrySchema = z.strictObject({
  /** The version of this file's format. */
  postern: z.literal(1),
  devices: z.array(
    z.strictObject({
      name: z.string().refine(isDeviceName),
      tenant: z.string().refine(isDeviceName),
      created: z.iso.datetime(),
      /** A removed device keeps its name, so that nobody else is given it by mistake. */
      removed: z.iso.datetime().optional(),
      /** All that it may still use; a renewal overlaps with what it replaces. */
      certificates: z.array(
        z.strictObject({
          /** SHA-256 over the DER, as in `Certificate.fingerprint`. */
          fingerprint: z.string().regex(/^[0-9A-F]{2}(:[0-9A-F]{2}){31}$/),
          serialNumber: z.string().regex(/^[0-9A-F]+$/),
          notAfter: z.iso.datetime(),
        }),
      ),
    }),
  ),
});

/** A device as the registry knows it. */
export type Device = Readonly<z.infer<typeof registrySchema>["devices"][number]>;

/** Which devices there are and by which certificates they are known. Held in memory; each change is on disk before it counts. */
export class DeviceRegistry {
  readonly #path: string;
  #devices: readonly Device[] = [];
  #byFingerprint = new Map<string, Device>();

  /** @throws {PkiFileError} when the file is damaged. */
  constructor(path: string) {
    this.#path = path;
    this.reload();
  }

  /** Reads the file again; a missing file is an empty registry. When it throws, what was known stays. @throws {PkiFileError} */
  reload(): void {
    const text = readTextIfThere(this.#path);
    this.#use(text === undefined ? [] : this.#parse(text));
  }

  get devices(): readonly Device[] {
    return this.#devices;
  }

  /** Whether a registry was ever written. */
  get exists(): boolean {
    return existsSync(this.#path);
  }

  find(name: string): Device | undefined {
    return this.#devices.find((device) => device.name === name);
  }

  /** The device that may use the certificate with this fingerprint; `undefined` for an unknown one and for a removed device. */
  findByFingerprint(fingerprint: string): Device | undefined {
    return this.#byFingerprint.get(fingerprint);
  }

  /** Adds a device, or replaces the one of the same name. */
  put(device: Device): void {
    const others = this.#devices.filter(({ name }) => name !== device.name);
    const devices = [...others, device].sort((a, b) => (a.name < b.name ? -1 : 1));
    replacePrivateFile(this.#path, `${JSON.stringify({ postern: 1, devices }, undefined, 2)}\n`);
    this.#use(devices);
  }

  #use(devices: readonly Device[]): void {
    const byFingerprint = new Map<string, Device>();
    for (const device of devices) {
      if (device.removed !== undefined) continue;
      for (const { fingerprint } of device.certificates) byFingerprint.set(fingerprint, device);
    }
    this.#devices = devices;
    this.#byFingerprint = byFingerprint;
  }

  #parse(text: string): readonly Device[] {
    const mend = "put it back from a backup, or from the copy before the last edit";
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (thrown) {
      throw new PkiFileError(`${this.#path}, the list of devices, is damaged (no JSON): ${mend}`, {
        cause: thrown,
      });
    }
    const result = registrySchema.safeParse(value);
    if (result.success) return result.data.devices;
    const [issue] = result.error.issues;
    throw new PkiFileError(
      `${this.#path}, the list of devices, is damaged ("${issue?.path.join(".") ?? ""}": ${issue?.message ?? ""}): ${mend}`,
    );
  }
}
