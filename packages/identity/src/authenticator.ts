import { hash } from "node:crypto";

import { Purpose, decodeCertificate, deviceOf, verifyLeaf, type Certificate } from "@postern/pki/certificate";

import type { Clock } from "@postern/core/clock";

import { refusalOfCertificate, refusalOfDevice, type Device } from "./device.ts";
import { withPublicKey } from "./device-certificate.ts";
import { DataDirectoryError } from "./errors.ts";
import { authenticatePsk } from "./psk.ts";
import type { DeviceRegistry } from "./registry.ts";

/** @see MQTT 5.0 §3.2.2.2 */
const notAuthorized = 0x87;

/** What a connection's transport has to say about who it is. */
export interface CredentialsRequest {
  readonly peer: {
    /** DER of the leaf that the client presented; TLS proved that it holds the key, and nothing else is taken from TLS. */
    readonly certificate: Uint8Array | undefined;
    /** What the client sent beside it (DER). */
    readonly intermediates?: (() => readonly Uint8Array[]) | undefined;
    /** The identity whose pre-shared key TLS proved the client to have. */
    readonly pskIdentity?: string | undefined;
  };
}

export type CredentialsResult =
  | {
      readonly kind: "accepted";
      readonly identity: { readonly name: string; readonly anonymous: boolean };
      /** Wall clock, ms: when the proof ends. */
      readonly untilMs: number;
    }
  | { readonly kind: "refused"; readonly reasonCode: number; readonly reason: string };

export interface CertificateAuthenticatorOptions {
  readonly registry: DeviceRegistry;
  /** The authorities that sign devices; asked for each certificate that is not in the cache. */
  readonly issuers: () => readonly Certificate[];
  readonly clock: Clock;
  /** How many verified certificates are remembered; the one verified longest ago gives way. */
  readonly cacheMax?: number;
}

/** A certificate that was verified, and until when (wall clock, ms) that holds. */
interface Verified {
  readonly device: string;
  readonly untilMs: number;
}

/** As in `Certificate.fingerprint`. */
function fingerprintOf(der: Uint8Array): string {
  return hash("sha256", der, "hex")
    .toUpperCase()
    .replace(/..(?=.)/g, "$&:");
}

function refused(reason: string): CredentialsResult {
  return { kind: "refused", reasonCode: notAuthorized, reason };
}

/**
 * Turns a client certificate into an identity by its bytes: the registry knows this very certificate, it names that device,
 * our authority signed it, it is for clients and the clock is within its validity. The registry is asked at every CONNECT;
 * only the signature check (0.1 ms) is remembered. What TLS says of the connection counts for nothing, since a resumed
 * session says what was true when it began.
 */
export class CertificateAuthenticator {
  readonly #options: CertificateAuthenticatorOptions;
  readonly #cacheMax: number;
  /** By fingerprint, oldest first. */
  readonly #verified = new Map<string, Verified>();

  constructor(options: CertificateAuthenticatorOptions) {
    this.#options = options;
    this.#cacheMax = options.cacheMax ?? 10_000;
  }

  authenticate({ peer }: CredentialsRequest): CredentialsResult {
    if (peer.pskIdentity !== undefined) return authenticatePsk(this.#options.registry, peer.pskIdentity);
    if (peer.certificate !== undefined) return this.#authenticateCertificate(peer.certificate);
    return refused("it presented no client certificate");
  }

  /** Whether the registry has this very certificate (DER), be it good or not. */
  knows(certificate: Uint8Array): boolean {
    return this.#options.registry.findByFingerprint(fingerprintOf(certificate)) !== undefined;
  }

  /** Forgets what was verified; for when the authority changed. */
  clearCache(): void {
    this.#verified.clear();
  }

  #authenticateCertificate(der: Uint8Array): CredentialsResult {
    const fingerprint = fingerprintOf(der);
    const known = this.#options.registry.findByFingerprint(fingerprint);
    if (known === undefined) return refused(`no device has its certificate (SHA-256 ${fingerprint})`);
    const { device, certificate } = known;
    const reason =
      refusalOfDevice(device) ??
      refusalOfCertificate(certificate, this.#options.clock.wallMs()) ??
      this.#verify(der, fingerprint, device);
    if (reason !== undefined) return refused(`the certificate of ${device.name} is refused: ${reason}`);
    const verifiedMs = this.#verified.get(fingerprint)?.untilMs ?? this.#options.clock.wallMs();
    const untilMs = Math.min(
      verifiedMs,
      certificate.ends === undefined ? Infinity : Date.parse(certificate.ends),
    );
    return { kind: "accepted", identity: { name: device.name, anonymous: false }, untilMs };
  }

  /** Earlier versions registered certificates without their keys. */
  #completeEntry(device: Device, certificate: Certificate): void {
    const entry = device.certificates.find(({ fingerprint }) => fingerprint === certificate.fingerprint);
    if (entry === undefined || entry.publicKey !== undefined) return;
    try {
      this.#options.registry.put(withPublicKey(device, certificate));
    } catch (thrown) {
      // The device is who it says all the same. The next certificate that is verified tries again.
      if (!(thrown instanceof DataDirectoryError)) throw thrown;
    }
  }

  /** The reason against it, or `undefined`. */
  #verify(der: Uint8Array, fingerprint: string, device: Device): string | undefined {
    const nowMs = this.#options.clock.wallMs();
    const known = this.#verified.get(fingerprint);
    if (known !== undefined && known.device === device.name && nowMs <= known.untilMs) return undefined;

    const certificate = decodeCertificate(der);
    if (certificate === undefined) return "it cannot be read";
    const named = deviceOf(certificate);
    if (named?.device !== device.name || named.tenant !== device.tenant) return "it names another device";
    const result = verifyLeaf({
      certificate,
      issuers: this.#options.issuers(),
      purpose: Purpose.clientAuth,
      nowMs,
    });
    if (result.kind === "invalid") return result.reason;

    this.#verified.delete(fingerprint);
    if (this.#verified.size >= this.#cacheMax) {
      const [oldest] = this.#verified.keys();
      if (oldest !== undefined) this.#verified.delete(oldest);
    }
    this.#verified.set(fingerprint, { device: device.name, untilMs: result.untilMs });
    this.#completeEntry(device, certificate);
    return undefined;
  }
}
