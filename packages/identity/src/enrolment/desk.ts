import { Purpose, decodeCertificate, deviceOf, verifyLeaf, type Certificate } from "@postern/pki/certificate";
import { isDeviceName } from "@postern/pki/device-uri";
import { judgeRequest, type Applicant } from "@postern/pki/csr-policy";
import { CsrRefusal, decodeRequest, type CertificateRequest } from "@postern/pki/csr";

import type { Clock } from "@postern/core/clock";

import { backdatedMs, type Authority } from "../authority.ts";
import { newDevice, refusalOfCertificate, refusalOfDevice, type Device } from "../device.ts";
import { withCertificate } from "../device-certificate.ts";
import type { DeviceRegistry } from "../registry.ts";
import { claimState, type EnrolmentClaim, type EnrolmentClaims } from "./claims.ts";
import { isFromBefore, tokenState, type EnrolmentToken, type EnrolmentTokens } from "./tokens.ts";

const dayMs = 86_400_000;
const hourMs = 3_600_000;

/** Certificates of one device that are good at the same time; a renewal beyond them ends the one that would end first. */
const certificatesPerDeviceMax = 4;

/** A device renews once in weeks; one that renews all the time has lost its way, and costs a line on disk each time. */
const renewalsPerDevicePerHourMax = 12;

/** Why nothing was issued, for programs. Those of a certification request keep their own names. */
export type EnrolmentRefusal =
  | CsrRefusal
  /** No proof, or none we know: no such token, another device's, used, cancelled, run out. */
  | "token"
  /** The certificate is none of ours, of another device, revoked, or expired for too long. */
  | "certificate"
  /** The device was removed or revoked. */
  | "device"
  /** The claim makes no more devices, or none of this name. */
  | "claim"
  /** Too many renewals. */
  | "rate";

export interface RefusedEnrolment {
  readonly kind: "refused";
  readonly reason: EnrolmentRefusal;
  /** One sentence for whoever asked and for the log; without a secret. */
  readonly detail: string;
}

export type EnrolmentResult =
  | { readonly kind: "issued"; readonly device: string; readonly certificate: Certificate }
  | RefusedEnrolment;

/** A device that proved itself by its certificate. */
interface Proved {
  readonly kind: "proved";
  readonly device: Device;
  readonly fingerprint: string;
}

export interface EnrolmentPolicy {
  /** Life of the certificates that are issued. */
  readonly certificateDays: number;
  /** So long after its end a certificate still proves who wants a new one; it proves nothing else any more. */
  readonly renewalGraceDays: number;
  /** Whether a renewal may keep the key. */
  readonly sameKey: boolean;
}

export interface EnrolmentDeskOptions {
  readonly registry: DeviceRegistry;
  readonly tokens: EnrolmentTokens;
  readonly claims: EnrolmentClaims;
  /** As it is now: it may be exchanged while the server runs. */
  readonly authority: () => Authority;
  readonly policy: EnrolmentPolicy;
  readonly clock: Clock;
}

/** A certification request (PKCS #10, DER or PEM) and the channel it came by. */
export interface IncomingRequest {
  readonly request: Uint8Array;
  /** @see Applicant.channelBindings */
  readonly channelBindings?: readonly string[];
  /** The address it came from. */
  readonly from: string;
}

function refused(reason: EnrolmentRefusal, detail: string): RefusedEnrolment {
  return { kind: "refused", reason, detail };
}

/**
 * Decides who is given a certificate, and gives it. Names, roles and uses are ours; of a request nothing is taken but its key. What is
 * to be remembered of the proof is on disk before a certificate leaves.
 */
export class EnrolmentDesk {
  readonly #options: EnrolmentDeskOptions;
  /** Keys of requests that are being answered: two at the same time must not both find a key unused. */
  readonly #keysAtWork = new Set<string>();
  /** New devices whose certificates are being signed for a claim. */
  readonly #namesAtWork = new Set<string>();
  #renewals = new Map<string, number>();
  #renewalsHour = 0;

  constructor(options: EnrolmentDeskOptions) {
    this.#options = options;
  }

  /** A first certificate for a device, or another one for a device that lost its key, by a one-time token. */
  async enrol(
    incoming: IncomingRequest,
    proof: { readonly device: string; readonly secret: string },
  ): Promise<EnrolmentResult> {
    const { tokens, clock } = this.#options;
    const token = tokens.findBySecret(proof.secret);
    const problem = this.#problemOfToken(token, proof.device);
    if (token === undefined || problem !== undefined) return refused("token", problem ?? "");
    const { device, tenant, roles, groups } = token;
    const present = this.#options.registry.find(device);
    const refusal = present === undefined ? undefined : refusalOfDevice(present);
    if (refusal !== undefined) return refused("device", refusal);
    if (present !== undefined && isFromBefore(token, present)) {
      return refused(
        "token",
        `the enrolment token is from before "${device}" was revoked or removed: ask for a new one`,
      );
    }
    const applicant = { device, tenant: present?.tenant ?? tenant };
    return this.#answer(incoming, applicant, undefined, (request) => {
      // Nothing is awaited between looking at the token and this.
      if (!tokens.consume(token.id, { from: incoming.from, keyId: request.publicKey.id }, clock.wallMs()))
        return undefined;
      return present ?? newDevice({ name: device, tenant, roles, groups }, clock.wallMs());
    });
  }

  /** A first certificate for a new device that carries the certificate of a claim. The device's name is the request's, within what the claim allows. */
  async claim(incoming: IncomingRequest, certificateDer: Uint8Array): Promise<EnrolmentResult> {
    const { claims, clock } = this.#options;
    const certificate = decodeCertificate(certificateDer);
    const claim = certificate && claims.findByFingerprint(certificate.fingerprint);
    if (certificate === undefined || claim === undefined)
      return refused("certificate", "this is the certificate of no claim");
    const problem = this.#problemOfClaim(claim, certificate);
    if (problem !== undefined) return refused("claim", `the claim "${claim.name}" ${problem}`);
    const decoded = decodeRequest(incoming.request);
    if (decoded.kind === "refused")
      return refused(decoded.reason, `the certification request is refused: ${decoded.detail}`);
    const [device = ""] = decoded.request.commonNames;
    if (!isDeviceName(device) || !device.startsWith(claim.prefix)) {
      return refused(
        "claim",
        `the claim "${claim.name}" makes devices whose names begin with "${claim.prefix}", which the request's common name does not`,
      );
    }
    if (this.#options.registry.find(device) !== undefined || this.#namesAtWork.has(device))
      return refused("claim", `there is a device "${device}" already, and a claim makes new ones only`);
    this.#namesAtWork.add(device);
    try {
      return await this.#answer(incoming, { device, tenant: claim.tenant }, undefined, () => {
        if (!claims.consume(claim.name, clock.wallMs())) return undefined;
        const { tenant, roles, groups } = claim;
        return newDevice({ name: device, tenant, roles, groups }, clock.wallMs());
      });
    } finally {
      this.#namesAtWork.delete(device);
    }
  }

  /** The claim that a certificate (DER) belongs to, whatever its state; `undefined` when it is none's. */
  claimOf(certificateDer: Uint8Array): EnrolmentClaim | undefined {
    const certificate = decodeCertificate(certificateDer);
    return certificate && this.#options.claims.findByFingerprint(certificate.fingerprint);
  }

  /** A new certificate for a device that proves itself by one it has; the old one stays good until its end. */
  async renew(incoming: IncomingRequest, certificateDer: Uint8Array): Promise<EnrolmentResult> {
    const nowMs = this.#options.clock.wallMs();
    const proved = this.#prove(certificateDer, this.#options.policy.renewalGraceDays);
    if (proved.kind === "refused") return proved;
    const { name, tenant } = proved.device;
    if (!this.#countRenewal(name, nowMs)) {
      return refused(
        "rate",
        `${name} has asked for ${renewalsPerDevicePerHourMax} renewals within an hour; try again in an hour`,
      );
    }
    return this.#answer(incoming, { device: name, tenant }, proved.fingerprint, () =>
      this.#options.registry.find(name),
    );
  }

  /** The device that a certificate (DER) proves at this moment, or `undefined`. */
  holderOf(certificateDer: Uint8Array): Device | undefined {
    const proved = this.#prove(certificateDer, 0);
    return proved.kind === "refused" ? undefined : proved.device;
  }

  /** The device that a certificate (DER) was issued to, whether it proves anything or not; `undefined` when we do not know it. */
  claimantOf(certificateDer: Uint8Array): Device | undefined {
    const certificate = decodeCertificate(certificateDer);
    return certificate && this.#options.registry.findByFingerprint(certificate.fingerprint)?.device;
  }

  #prove(certificateDer: Uint8Array, graceDays: number): Proved | RefusedEnrolment {
    const certificate = decodeCertificate(certificateDer);
    const known = certificate && this.#options.registry.findByFingerprint(certificate.fingerprint);
    if (certificate === undefined || known === undefined)
      return refused("certificate", "no device of this server has this certificate");
    const { device } = known;
    const refusal = refusalOfDevice(device);
    if (refusal !== undefined) return refused("device", refusal);
    const problem =
      refusalOfCertificate(known.certificate, this.#options.clock.wallMs()) ??
      this.#problemOfCertificate(certificate, device, graceDays);
    return problem === undefined
      ? { kind: "proved", device, fingerprint: certificate.fingerprint }
      : refused("certificate", `the certificate of ${device.name} is refused: ${problem}`);
  }

  #problemOfToken(token: EnrolmentToken | undefined, device: string): string | undefined {
    if (token === undefined) return "there is no such enrolment token";
    // Who has the secret may know what became of it: the honest owner of a token that somebody else used must be able to tell.
    if (token.device !== device) return "the enrolment token is another device's";
    const state = tokenState(token, this.#options.clock.wallMs());
    switch (state) {
      case "open":
        return undefined;
      case "used":
        return `the enrolment token was used at ${token.used?.at ?? ""}: it can be used once; if that was not this device, revoke what was issued`;
      case "cancelled":
        return `the enrolment token was cancelled at ${token.cancelled ?? ""}`;
      case "expired":
        return `the enrolment token ran out at ${token.expires}`;
      default:
        return state satisfies never;
    }
  }

  #problemOfClaim(claim: EnrolmentClaim, certificate: Certificate): string | undefined {
    const { clock, authority } = this.#options;
    const nowMs = clock.wallMs();
    const state = claimState(claim, nowMs);
    switch (state) {
      case "open": {
        const { issuers } = authority();
        const result = verifyLeaf({ certificate, issuers, purpose: Purpose.clientAuth, nowMs });
        return result.kind === "invalid" ? `cannot be used: ${result.reason}` : undefined;
      }
      case "revoked":
        return `was revoked at ${claim.revoked ?? ""}`;
      case "expired":
        return `ran out at ${claim.expires}`;
      case "exhausted":
        return `has made all of its ${claim.devicesMax} devices`;
      default:
        return state satisfies never;
    }
  }

  #problemOfCertificate(certificate: Certificate, device: Device, graceDays: number): string | undefined {
    const { clock, authority } = this.#options;
    const named = deviceOf(certificate);
    if (named?.device !== device.name || named.tenant !== device.tenant) return "it names another device";
    const nowMs = clock.wallMs();
    const graceEndsMs = certificate.notAfterMs + graceDays * dayMs;
    if (nowMs > graceEndsMs)
      return `it expired at ${new Date(certificate.notAfterMs).toISOString()}, too long ago to be renewed`;
    const result = verifyLeaf({
      certificate,
      issuers: authority().issuers,
      purpose: Purpose.clientAuth,
      nowMs: Math.min(nowMs, certificate.notAfterMs),
    });
    return result.kind === "invalid" ? result.reason : undefined;
  }

  #countRenewal(device: string, nowMs: number): boolean {
    const hour = Math.floor(nowMs / hourMs);
    if (hour !== this.#renewalsHour) {
      this.#renewalsHour = hour;
      this.#renewals = new Map();
    }
    const count = (this.#renewals.get(device) ?? 0) + 1;
    this.#renewals.set(device, count);
    return count <= renewalsPerDevicePerHourMax;
  }

  /** Why this key may not be certified for `device`. */
  #problemOfKey(
    { id }: CertificateRequest["publicKey"],
    device: string,
    isRenewal: boolean,
  ): string | undefined {
    if (this.#keysAtWork.has(id)) return "its key is in another request at this very moment";
    const known = this.#options.registry.findByKeyId(id);
    if (known === undefined) return undefined;
    if (known.device.name !== device) return "its key is another device's";
    if (isRenewal && this.#options.policy.sameKey && known.certificate.revoked === undefined)
      return undefined;
    return "its key is one that this device had before: make a new key for each certificate";
  }

  /**
   * Reads and judges the request and issues.
   * @param presented the fingerprint of the certificate that proved who asks, in a renewal.
   * @param admit settles the proof, durably, and says whom to register; `undefined` when the proof is gone meanwhile.
   */
  async #answer(
    { request: bytes, channelBindings }: IncomingRequest,
    applicant: Applicant,
    presented: string | undefined,
    admit: (request: CertificateRequest) => Device | undefined,
  ): Promise<EnrolmentResult> {
    const decoded = decodeRequest(bytes);
    const judged =
      decoded.kind === "refused"
        ? decoded
        : judgeRequest(
            decoded.request,
            channelBindings === undefined ? applicant : { ...applicant, channelBindings },
          );
    if (decoded.kind === "refused" || judged !== undefined)
      return refused(
        judged?.reason ?? CsrRefusal.malformed,
        `the certification request is refused: ${judged?.detail ?? ""}`,
      );
    const { publicKey } = decoded.request;
    const problem = this.#problemOfKey(publicKey, applicant.device, presented !== undefined);
    if (problem !== undefined)
      return refused(CsrRefusal.keyInUse, `the certification request is refused: ${problem}`);
    this.#keysAtWork.add(publicKey.id);
    try {
      const device = admit(decoded.request);
      if (device === undefined) return refused("token", "its proof was used up by another request");
      return await this.#issue(device, decoded.request, presented);
    } finally {
      this.#keysAtWork.delete(publicKey.id);
    }
  }

  async #issue(
    admitted: Device,
    { publicKey }: CertificateRequest,
    presented: string | undefined,
  ): Promise<EnrolmentResult> {
    const { registry, authority, policy, clock } = this.#options;
    const { issueDeviceFor } = await import("@postern/pki/issue");
    const nowMs = clock.wallMs();
    const { name, tenant } = admitted;
    const validity = { notBeforeMs: nowMs - backdatedMs, notAfterMs: nowMs + policy.certificateDays * dayMs };
    const { issuer } = authority();
    const pem = await issueDeviceFor({ tenant, device: name, validity, issuer }, publicKey);
    const certificate = decodeCertificate(pem);
    if (certificate === undefined) throw new Error("a certificate that was just issued cannot be read");
    // It may have been changed, removed or revoked while the certificate was signed.
    const device = registry.find(name) ?? admitted;
    const refusal = refusalOfDevice(device);
    if (refusal !== undefined) return refused("device", refusal);
    registry.put(
      bounded(withCertificate(device, certificate, nowMs), [certificate.fingerprint, presented], nowMs),
    );
    return { kind: "issued", device: name, certificate };
  }
}

/** `device` with at most so many good certificates: those that would end first end now, but for `kept`. */
function bounded(device: Device, kept: readonly (string | undefined)[], nowMs: number): Device {
  const good = device.certificates.filter(
    (certificate) => refusalOfCertificate(certificate, nowMs) === undefined,
  );
  const spare = good
    .filter(({ fingerprint }) => !kept.includes(fingerprint))
    .toSorted((a, b) => Date.parse(a.notAfter) - Date.parse(b.notAfter))
    .slice(0, Math.max(good.length - certificatesPerDeviceMax, 0));
  if (spare.length === 0) return device;
  const revoked = { at: new Date(nowMs).toISOString(), reason: "superseded" } as const;
  const certificates = device.certificates.map((certificate) =>
    spare.includes(certificate) ? { ...certificate, revoked } : certificate,
  );
  return { ...device, certificates };
}
