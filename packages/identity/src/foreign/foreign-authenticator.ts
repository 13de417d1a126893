import type { Clock } from "@postern/core/clock";
import { verifyChain } from "@postern/pki/chain";
import { Purpose, decodeCertificate, deviceOf, type Certificate } from "@postern/pki/certificate";

import { BoundedMap } from "../authentication/bounded-map.ts";
import { refusalOfDevice, type Device } from "../device.ts";
import type { DeviceRegistry } from "../registry.ts";
import type { RevocationChecker } from "./revocation-checker.ts";
import type { TrustAnchor } from "./trust-anchor.ts";

/** Certificates whose path is remembered, some kilobytes each; the one seen longest ago gives way. */
const rememberedMax = 20_000;
/** Certificates that are looked at again before others have their turn. */
const sliceCount = 50;
/** Finding out about revocation may take so long; whoever waits longer has gone. */
const checkMs = 8_000;
/** Certificates whose revocation is being found out at a time; beyond, clients are told that it cannot be found out. */
const checksMax = 512;

export interface ForeignAuthenticatorOptions {
  readonly registry: Pick<DeviceRegistry, "find">;
  /** As they are now. */
  readonly anchors: () => readonly TrustAnchor[];
  readonly checker: RevocationChecker;
  readonly clock: Clock;
  /** A device was let in although it is not known whether its certificate is revoked, as its anchor's policy allows. */
  readonly onUndetermined: (device: string, reason: string) => void;
}

export type ForeignResult =
  /** `untilMs`: wall clock at which the first certificate of the path ends. */
  | { readonly kind: "accepted"; readonly device: string; readonly untilMs: number }
  | {
      readonly kind: "refused";
      readonly reason: string;
      /** The device is known, and its certificate is not good. */
      readonly device: string | undefined;
      readonly revoked: boolean;
    };

/** What was found out about a certificate, so that a resumed connection, which brings the leaf alone, can be judged again. */
interface Remembered {
  readonly leaf: Certificate;
  readonly intermediates: readonly Certificate[];
  readonly device: string;
}

interface Path {
  readonly anchor: TrustAnchor;
  readonly certificates: readonly Certificate[];
  readonly untilMs: number;
}

function refused(reason: string, device?: string, revoked = false): ForeignResult {
  return { kind: "refused", reason, device, revoked };
}

/**
 * Turns a certificate of another authority into a device:
 * 1. a path leads from it to a trust anchor of the configuration;
 * 2. it names one device, `urn:iot:<tenant>:<device>`, of the very tenant that the anchor is for;
 * 3. the device is registered there and in use, and has no good certificate of our own authority, which nobody else replaces;
 * 4. nothing of the path is revoked, as far as the anchor's policy wants to know.
 *
 * Every connection is judged, resumed ones too; `recheck` looks again at those that are in.
 */
export class ForeignAuthenticator {
  readonly #options: ForeignAuthenticatorOptions;
  /** By fingerprint. */
  readonly #remembered = new BoundedMap<Remembered>(rememberedMax);
  #checks = 0;

  constructor(options: ForeignAuthenticatorOptions) {
    this.#options = options;
  }

  /** Whether there is any anchor: without one nothing of this costs anything. */
  get isInUse(): boolean {
    return this.#options.anchors().length > 0;
  }

  /** `intermediates` is asked for what the client sent beside the leaf (DER), which a resumed connection does not. */
  async authenticate(der: Uint8Array, intermediates: () => readonly Uint8Array[]): Promise<ForeignResult> {
    const leaf = decodeCertificate(der);
    if (leaf === undefined) return refused("it cannot be read");
    const sent = intermediates().flatMap((bytes) => decodeCertificate(bytes) ?? []);
    const remembered = this.#remembered.get(leaf.fingerprint);
    return this.#judge(leaf, sent.length > 0 ? sent : (remembered?.intermediates ?? []));
  }

  /** Judges all again that were let in; tells `onRefused` who would not be any more. */
  async recheck(
    onRefused: (device: string, refusal: { reason: string; revoked: boolean }) => void,
  ): Promise<void> {
    let count = 0;
    // As they are now: judging one again writes it again.
    const known = Array.from(this.#remembered.entries());
    for (const [fingerprint, { leaf, intermediates, device }] of known) {
      const result = await this.#judge(leaf, intermediates);
      if (result.kind === "refused") {
        this.#remembered.delete(fingerprint);
        onRefused(device, result);
      }
      count += 1;
      if (count % sliceCount === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #judge(leaf: Certificate, intermediates: readonly Certificate[]): Promise<ForeignResult> {
    const path = this.#findPath(leaf, intermediates);
    if (typeof path === "string") return refused(path);
    const device = this.#deviceOf(leaf, path.anchor);
    if (typeof device === "string") return refused(device);
    const verdict = await this.#check(path);
    const { name } = device;
    if (verdict.kind === "revoked") return refused(verdict.reason, name, true);
    if (verdict.kind === "undetermined")
      return refused(
        `whether it is revoked cannot be found out, and ${path.anchor.name} requires that: ${verdict.reason}`,
        name,
      );
    if (verdict.undetermined !== undefined) this.#options.onUndetermined(name, verdict.undetermined);
    // It may have been revoked here while others were asked.
    const refusal = refusalOfDevice(this.#options.registry.find(name) ?? device);
    if (refusal !== undefined) return refused(refusal, name);
    this.#remembered.set(leaf.fingerprint, { leaf, intermediates, device: name });
    return { kind: "accepted", device: name, untilMs: path.untilMs };
  }

  #findPath(leaf: Certificate, intermediates: readonly Certificate[]): Path | string {
    let reason = "it was not issued by an authority that is trusted here";
    const nowMs = this.#options.clock.wallMs();
    for (const anchor of this.#options.anchors()) {
      const result = verifyChain({
        leaf,
        intermediates,
        anchors: anchor.certificates,
        purpose: Purpose.clientAuth,
        nowMs,
      });
      if (result.kind === "valid") {
        // One authority may be the anchor of several tenants.
        const path = { anchor, certificates: result.path, untilMs: result.untilMs };
        if (deviceOf(leaf)?.tenant === anchor.tenant) return path;
        reason = `it names no device of the tenant "${anchor.tenant}", which ${anchor.name} is for`;
      } else if (!reason.startsWith("it names no device")) ({ reason } = result);
    }
    return reason;
  }

  #deviceOf(leaf: Certificate, anchor: TrustAnchor): Device | string {
    const named = deviceOf(leaf);
    if (named === undefined || named.tenant !== anchor.tenant) return "it names no device";
    const device = this.#options.registry.find(named.device);
    if (device === undefined || device.tenant !== anchor.tenant)
      return `there is no device "${named.device}" of the tenant "${anchor.tenant}"`;
    const nowMs = this.#options.clock.wallMs();
    const own = device.certificates.some(
      ({ revoked, notAfter }) => revoked === undefined && Date.parse(notAfter) > nowMs,
    );
    if (own)
      return `"${device.name}" has a certificate of this server's own authority, which no other one replaces`;
    return refusalOfDevice(device) ?? device;
  }

  async #check({ certificates, anchor }: Path): ReturnType<RevocationChecker["check"]> {
    if (anchor.policy === "off") return { kind: "acceptable", undetermined: undefined };
    if (this.#checks >= checksMax) return this.#without(anchor, "too many certificates are being checked");
    this.#checks += 1;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), checkMs);
    });
    try {
      const verdict = await Promise.race([this.#options.checker.check(certificates, anchor), late]);
      return verdict ?? this.#without(anchor, `no answer within ${checkMs / 1_000} s`);
    } finally {
      clearTimeout(timer);
      this.#checks -= 1;
    }
  }

  #without({ policy }: TrustAnchor, reason: string): Awaited<ReturnType<RevocationChecker["check"]>> {
    return policy === "soft"
      ? { kind: "acceptable", undetermined: reason }
      : { kind: "undetermined", reason };
  }
}
