import { deviceNameRule, isDeviceName } from "@postern/pki/device-uri";
import { z } from "zod";

import { revocationReasons } from "../device.ts";

/** How a device may prove who it is. */
export const credentialKinds = ["certificate", "password", "psk", "token"] as const;
const credentialKind = z.enum(credentialKinds);
export type CredentialKind = z.infer<typeof credentialKind>;

const name = z.string().refine(isDeviceName, {
  error: ({ input }) => `${JSON.stringify(input)} is not a name of ${deviceNameRule}`,
});
const names = z.array(name).max(64);

/** The kinds of keys that devices are given certificates for; every library knows the first. */
export const keyTypes = ["P-256", "Ed25519"] as const;
export type KeyType = (typeof keyTypes)[number];
const days = z.int().min(1).max(3_650).optional();

/** Ten years: whoever wants the old credential longer wants no rotation. */
const overlapSecondsMax = 315_360_000;

/** What new credentials are made from. */
const credentials = {
  /** Life of the certificate or token. */
  days,
  /** What kind of key to make for a certificate; P-256 unless given. */
  keyType: z.enum(keyTypes).optional(),
  /** A certification request (PEM) of a device that keeps its key. */
  csr: z.string().max(65_536).optional(),
  /** Chosen by a person; one is generated otherwise. */
  password: z.string().min(1).max(1_024).optional(),
};

export const addRequest = z.strictObject({
  name,
  tenant: name,
  auth: z.array(credentialKind).min(1),
  roles: names,
  groups: names,
  /** Gives the name of a removed device to a new one. */
  reuseName: z.boolean(),
  ...credentials,
});
export type AddRequest = z.infer<typeof addRequest>;

export const setRequest = z.strictObject({
  name,
  /** In the place of all it has. */
  roles: names.optional(),
  groups: names.optional(),
  addRoles: names,
  removeRoles: names,
  addGroups: names,
  removeGroups: names,
});
export type SetRequest = z.infer<typeof setRequest>;

export const rotateRequest = z.strictObject({
  name,
  /** What to make anew; all that the device has unless given. */
  auth: z.array(credentialKind).min(1).optional(),
  /** How long the old credential is still good; 0 to end it now. */
  overlapSeconds: z.int().min(0).max(overlapSecondsMax),
  /** Lets a revoked device in again, with the new credentials alone. */
  reinstate: z.boolean(),
  ...credentials,
});
export type RotateRequest = z.infer<typeof rotateRequest>;

export const revokeRequest = z.strictObject({
  name,
  reason: z.enum(revocationReasons),
  /** The serial number, or the fingerprint, of one certificate; its beginning is enough. The device goes on otherwise. */
  certificate: z
    .string()
    .regex(/^[0-9A-Fa-f:]{4,95}$/, {
      error: ({ input }) =>
        `${JSON.stringify(input)} is not the beginning of a serial number or fingerprint: at least four hexadecimal digits`,
    })
    .optional(),
  /** The id of one token. */
  token: z.string().min(1).max(128).optional(),
});
export type RevokeRequest = z.infer<typeof revokeRequest>;

export const removeRequest = z.strictObject({ name });
export type RemoveRequest = z.infer<typeof removeRequest>;

export const deviceStates = ["active", "revoked", "removed"] as const;

export const listRequest = z.strictObject({
  /** A name in which `*` stands for anything. */
  pattern: z.string().max(256).optional(),
  roles: names,
  groups: names,
  auth: z.array(credentialKind),
  /** All but the removed ones unless given. */
  states: z.array(z.enum(deviceStates)),
  /** Only those whose last certificate or token ends within so many days. */
  endsWithinDays: z.int().min(0).max(36_500).optional(),
});
export type ListRequest = z.infer<typeof listRequest>;
