import { deviceNameRule, isDeviceName } from "@postern/pki/device-uri";
import { z } from "zod";

import { decodeCertificate } from "@postern/pki/certificate";

import { backdatedMs, type Authority } from "../authority.ts";
import { EnrolmentError } from "../errors.ts";
import { Journal } from "../journal.ts";

const header = { postern: 1, file: "claims" } as const;

const dayMs = 86_400_000;

/** A claim is in many hands: the sooner it ends the better. */
const claimDaysMax = 90;
const claimDevicesMax = 100_000;
const claimsMax = 1_000;

const name = z.string().refine(isDeviceName);
const time = z.iso.datetime();

const recordSchema = z.strictObject({
  name,
  /** Of the certificate that proves the claim. */
  fingerprint: z.string().regex(/^[0-9A-F]{2}(:[0-9A-F]{2}){31}$/),
  tenant: name,
  /** What the names of its devices begin with. */
  prefix: name,
  roles: z.array(name),
  groups: z.array(name),
  /** How many devices it may make, and has made. */
  devicesMax: z.int().min(1),
  devices: z.int().min(0),
  created: time,
  expires: time,
  revoked: time.optional(),
});
const entrySchema = z.strictObject({ put: recordSchema });

/** A certificate that many new devices carry from the factory and that is good for one thing: to ask for a certificate of their own. */
export type EnrolmentClaim = Readonly<z.infer<typeof recordSchema>>;
export type ClaimState = "open" | "revoked" | "expired" | "exhausted";

export interface NewClaim {
  readonly name: string;
  readonly tenant: string;
  readonly prefix: string;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  readonly devicesMax: number;
  readonly lifeMs: number;
}

export function claimState(
  { revoked, expires, devices, devicesMax }: EnrolmentClaim,
  nowMs: number,
): ClaimState {
  if (revoked !== undefined) return "revoked";
  if (nowMs >= Date.parse(expires)) return "expired";
  return devices >= devicesMax ? "exhausted" : "open";
}

/** Which claims there are and what they made. Held in memory; each change is on disk when the call returns. */
export class EnrolmentClaims {
  readonly #journal: Journal;
  readonly #byName = new Map<string, EnrolmentClaim>();
  readonly #nameByFingerprint = new Map<string, string>();

  /** Reads the file; a missing one is made by the first claim. @throws {PkiFileError} when it is damaged. */
  constructor(path: string) {
    this.#journal = new Journal({
      path,
      header,
      title: "the list of claims",
      take: (entry) => {
        const result = entrySchema.safeParse(entry);
        if (!result.success) throw new Error(result.error.issues[0]?.message ?? "");
        this.#index(result.data.put);
      },
    });
  }

  list(): EnrolmentClaim[] {
    return [...this.#byName.values()];
  }

  find(claim: string): EnrolmentClaim | undefined {
    return this.#byName.get(claim);
  }

  findByFingerprint(fingerprint: string): EnrolmentClaim | undefined {
    return this.#byName.get(this.#nameByFingerprint.get(fingerprint) ?? "");
  }

  /**
   * Makes a claim with its certificate.
   * @returns certificate and key in PEM, the key a secret that is kept nowhere here.
   * @throws {EnrolmentError} for what cannot be.
   */
  async create(
    wanted: NewClaim,
    authority: Authority,
    nowMs: number,
  ): Promise<{ readonly claim: EnrolmentClaim; readonly certificate: string; readonly key: string }> {
    const { name: claimName, tenant, prefix, roles, groups, devicesMax, lifeMs } = wanted;
    for (const given of [claimName, tenant, prefix, ...roles, ...groups]) {
      if (!isDeviceName(given)) throw new EnrolmentError(`"${given}" is not a name of ${deviceNameRule}`);
    }
    if (!(lifeMs >= 1_000 && lifeMs <= claimDaysMax * dayMs))
      throw new EnrolmentError(`a claim can be used for 1 second to ${claimDaysMax} days`);
    if (!(Number.isInteger(devicesMax) && devicesMax >= 1 && devicesMax <= claimDevicesMax))
      throw new EnrolmentError(`a claim can make 1 to ${claimDevicesMax} devices`);
    if (this.#byName.size >= claimsMax) throw new EnrolmentError(`there are ${claimsMax} claims already`);
    const { issueClaim } = await import("@postern/pki/issue");
    const validity = { notBeforeMs: nowMs - backdatedMs, notAfterMs: nowMs + lifeMs };
    const issued = await issueClaim({ tenant, claim: claimName, validity, issuer: authority.issuer });
    const certificate = decodeCertificate(issued.certificate);
    if (certificate === undefined) throw new Error("a certificate that was just issued cannot be read");
    // Only now, for somebody else may have made one of this name meanwhile.
    if (this.#byName.has(claimName))
      throw new EnrolmentError(`there is a claim "${claimName}" already: choose another name`);
    const claim: EnrolmentClaim = {
      name: claimName,
      fingerprint: certificate.fingerprint,
      tenant,
      prefix,
      roles: [...roles],
      groups: [...groups],
      devicesMax,
      devices: 0,
      created: new Date(nowMs).toISOString(),
      expires: new Date(nowMs + lifeMs).toISOString(),
    };
    this.#put(claim);
    return { claim, certificate: issued.certificate + authority.issuer.certificate, key: issued.key };
  }

  /** Counts one more device of a claim. @returns whether it may make one; on disk then. @throws {DataDirectoryError} and counts nothing. */
  consume(claimName: string, nowMs: number): boolean {
    const claim = this.#byName.get(claimName);
    if (claim === undefined || claimState(claim, nowMs) !== "open") return false;
    this.#put({ ...claim, devices: claim.devices + 1 });
    return true;
  }

  /** @returns the claim as it is now; `undefined` when there is none. */
  revoke(claimName: string, nowMs: number): EnrolmentClaim | undefined {
    const claim = this.#byName.get(claimName);
    if (claim === undefined || claim.revoked !== undefined) return claim;
    const revoked = { ...claim, revoked: new Date(nowMs).toISOString() };
    this.#put(revoked);
    return revoked;
  }

  /** Gives the file back. */
  close(): void {
    this.#journal.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #put(claim: EnrolmentClaim): void {
    this.#journal.append({ put: claim });
    this.#index(claim);
    if (this.#journal.entries > 10 * this.#byName.size + 10_000)
      this.#journal.rewrite(this.list().map((put) => ({ put })));
  }

  #index(claim: EnrolmentClaim): void {
    this.#byName.set(claim.name, claim);
    this.#nameByFingerprint.set(claim.fingerprint, claim.name);
  }
}
