import { createPublicKey } from "node:crypto";

import type { Clock } from "@postern/core/clock";
import { verifyingKey, type VerifyingKey } from "@postern/seal/keys/signature";

import { refusalOfCertificate, refusalOfDevice, type Device, type DeviceCertificate } from "../device.ts";
import type { DeviceRegistry } from "../registry.ts";

interface Signer {
  readonly certificate: DeviceCertificate;
  readonly key: VerifyingKey;
}

/** The keys that devices sign with: those of their certificates that are good at the moment. */
export class SignerKeys {
  readonly #registry: Pick<DeviceRegistry, "find">;
  readonly #clock: Clock;
  /** By what the registry has of a device, which is another object after each change. */
  readonly #decoded = new WeakMap<Device, readonly Signer[]>();

  constructor(registry: Pick<DeviceRegistry, "find">, clock: Clock) {
    this.#registry = registry;
    this.#clock = clock;
  }

  /** None for a device that is not known, or no longer trusted. */
  of(name: string): readonly VerifyingKey[] {
    const device = this.#registry.find(name);
    if (device === undefined || refusalOfDevice(device) !== undefined) return [];
    const nowMs = this.#clock.wallMs();
    return this.#signers(device)
      .filter(
        ({ certificate }) =>
          refusalOfCertificate(certificate, nowMs) === undefined && Date.parse(certificate.notAfter) > nowMs,
      )
      .map(({ key }) => key);
  }

  #signers(device: Device): readonly Signer[] {
    const known = this.#decoded.get(device);
    if (known !== undefined) return known;
    const signers = device.certificates.flatMap((certificate): Signer[] => {
      const key = decode(certificate.publicKey);
      return key === undefined ? [] : [{ certificate, key }];
    });
    this.#decoded.set(device, signers);
    return signers;
  }
}

/** `undefined` for a key of another kind than payloads are signed with, such as RSA. */
function decode(publicKey: string | undefined): VerifyingKey | undefined {
  if (publicKey === undefined) return undefined;
  const key = createPublicKey({ key: Buffer.from(publicKey, "base64"), format: "der", type: "spki" });
  try {
    return verifyingKey(key);
  } catch (thrown) {
    if (thrown instanceof TypeError) return undefined;
    throw thrown;
  }
}
