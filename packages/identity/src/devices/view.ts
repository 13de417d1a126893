import { z } from "zod";

import { refusalOfDevice, revocationSchema, type Device } from "../device.ts";
import { credentialKinds, deviceStates, type CredentialKind } from "./requests.ts";

const proofStates = ["valid", "ended", "revoked"] as const;

/** A device as it is shown: without anything that proves or checks who it is. */
export const deviceViewSchema = z.object({
  name: z.string(),
  tenant: z.string(),
  state: z.enum(deviceStates),
  created: z.string(),
  removed: z.string().optional(),
  revoked: revocationSchema.optional(),
  roles: z.array(z.string()),
  groups: z.array(z.string()),
  /** What it can prove itself by now. */
  auth: z.array(z.enum(credentialKinds)),
  /** When the last of its certificates and tokens ends; absent for a device that has none. */
  ends: z.string().optional(),
  certificates: z.array(
    z.object({
      serialNumber: z.string(),
      fingerprint: z.string(),
      state: z.enum(proofStates),
      notAfter: z.string(),
      /** When a rotation ends its use before `notAfter`. */
      ends: z.string().optional(),
      revoked: revocationSchema.optional(),
    }),
  ),
  tokens: z.array(
    z.object({
      id: z.string(),
      state: z.enum(proofStates),
      notAfter: z.string(),
      revoked: revocationSchema.optional(),
    }),
  ),
  knockKeyVersion: z.number(),
});
export type DeviceView = z.infer<typeof deviceViewSchema>;

interface Proof {
  readonly notAfter: string;
  readonly ends?: string | undefined;
  readonly revoked?: unknown;
}

function stateOf({ notAfter, ends = notAfter, revoked }: Proof, nowMs: number): (typeof proofStates)[number] {
  if (revoked !== undefined) return "revoked";
  return nowMs < Date.parse(ends) && nowMs <= Date.parse(notAfter) ? "valid" : "ended";
}

/** What a device has to prove itself by; with `former`, also what is good no more. */
export function credentialKindsOf(device: Device, nowMs: number, former = false): CredentialKind[] {
  const isValid = (proof: Proof): boolean => former || stateOf(proof, nowMs) === "valid";
  const has: Readonly<Record<CredentialKind, boolean>> = {
    certificate: device.certificates.some(isValid),
    password: device.password !== undefined,
    psk: device.psk !== undefined,
    token: device.tokens.some(isValid),
  };
  return credentialKinds.filter((kind) => has[kind]);
}

/** A device for people and programs. */
export function viewOf(device: Device, nowMs: number): DeviceView {
  const { name, tenant, created, removed, revoked, knockKeyVersion } = device;
  const certificates = device.certificates.map((certificate) => ({
    serialNumber: certificate.serialNumber,
    fingerprint: certificate.fingerprint,
    state: stateOf(certificate, nowMs),
    notAfter: certificate.notAfter,
    ends: certificate.ends,
    revoked: certificate.revoked,
  }));
  const tokens = device.tokens.map((token) => ({
    id: token.jti,
    state: stateOf(token, nowMs),
    notAfter: token.notAfter,
    revoked: token.revoked,
  }));
  const ends = [...certificates, ...tokens]
    .filter(({ state }) => state !== "revoked")
    .map((proof) => ("ends" in proof ? (proof.ends ?? proof.notAfter) : proof.notAfter))
    .toSorted((a, b) => Date.parse(a) - Date.parse(b))
    .at(-1);
  return {
    name,
    tenant,
    state: removed !== undefined ? "removed" : revoked !== undefined ? "revoked" : "active",
    created,
    removed,
    revoked,
    roles: [...device.roles],
    groups: [...device.groups],
    auth: refusalOfDevice(device) === undefined ? credentialKindsOf(device, nowMs) : [],
    ends,
    certificates,
    tokens,
    knockKeyVersion,
  };
}
