import { createHmac, randomBytes } from "node:crypto";

import { refusalOfDevice, type Device } from "../device.ts";
import { hashOfNobody, passwordBytes, passwordBytesMax, verifyPassword } from "../password/password-hash.ts";
import type { PasswordQueue } from "../password/password-queue.ts";
import { BoundedMap } from "./bounded-map.ts";

/** Where devices are found by name. */
export interface DeviceDirectory {
  find(name: string): Device | undefined;
}

export interface PasswordAuthenticatorOptions {
  readonly devices: DeviceDirectory;
  readonly queue: PasswordQueue;
  /** How many verified passwords are remembered. */
  readonly cacheMax?: number;
}

/** `busy`: too many passwords wait to be verified. `reason` is for the log alone. */
export type PasswordVerdict =
  | { readonly kind: "right"; readonly name: string }
  | { readonly kind: "wrong"; readonly reason: string }
  | { readonly kind: "busy" };

/**
 * Verifies passwords of devices. Whoever does not exist, has no password or was revoked takes as long as a wrong password: their
 * password is verified against a hash that nobody has. A password that was right is remembered, as an HMAC under a key of this
 * process, so that a fleet that comes back is not verified again one by one.
 */
export class PasswordAuthenticator {
  readonly #devices: DeviceDirectory;
  readonly #queue: PasswordQueue;
  readonly #nobody = hashOfNobody();
  readonly #cacheKey = randomBytes(32);
  /** By name. */
  readonly #verified: BoundedMap<string>;

  constructor({ devices, queue, cacheMax = 10_000 }: PasswordAuthenticatorOptions) {
    this.#devices = devices;
    this.#queue = queue;
    this.#verified = new BoundedMap(cacheMax);
  }

  async verify(name: string, password: Uint8Array): Promise<PasswordVerdict> {
    const normal = normalized(password);
    const known = this.#hashOf(name);
    const hash = "hash" in known ? known.hash : this.#nobody;
    const mark = this.#mark(hash, normal);
    if (this.#verified.get(name) === mark) return { kind: "right", name };
    const right = await this.#queue.run(() => verifyPassword(hash, normal));
    if (right === "busy") return { kind: "busy" };
    if ("reason" in known) return { kind: "wrong", reason: known.reason };
    if (!right) return { kind: "wrong", reason: "wrong password" };
    // It took a while: the device may have been revoked, or given another password.
    const now = this.#hashOf(name);
    if ("reason" in now) return { kind: "wrong", reason: now.reason };
    if (now.hash !== hash) return { kind: "wrong", reason: "the password was replaced" };
    this.#verified.set(name, mark);
    return { kind: "right", name };
  }

  #hashOf(name: string): { readonly hash: string } | { readonly reason: string } {
    const device = this.#devices.find(name);
    if (device === undefined) return { reason: "no device has this name" };
    const reason = refusalOfDevice(device);
    if (reason !== undefined) return { reason };
    return device.password === undefined
      ? { reason: "the device has no password" }
      : { hash: device.password.hash };
  }

  #mark(hash: string, password: Uint8Array): string {
    return createHmac("sha256", this.#cacheKey).update(hash).update("\0").update(password).digest("base64");
  }
}

/** The form in which passwords are hashed; bytes that are no text stay as they are. */
function normalized(password: Uint8Array): Uint8Array {
  if (password.length > passwordBytesMax) return password;
  try {
    return passwordBytes(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(password));
  } catch {
    return password;
  }
}
