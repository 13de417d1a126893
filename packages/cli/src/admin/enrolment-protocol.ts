import { z } from "zod";

/** `POST /enrolment/tokens`. The names are checked where the token is made. */
export const newTokenRequest = z.strictObject({
  device: z.string(),
  tenant: z.string(),
  roles: z.array(z.string()),
  groups: z.array(z.string()),
  lifeMs: z.number(),
});

/** How somebody knocks who has no bundle yet, where the enrolment server is hidden. */
export const enrolmentKnock = z.object({
  gate: z.string().min(1),
  port: z.int().min(1).max(65_535),
  secret: z.base64().length(88),
  service: z.int().min(0).max(65_535),
});

export const newTokenResult = z.object({
  id: z.string(),
  device: z.string(),
  /** User name and password of HTTP in one: `device:secret`. Told this once. */
  token: z.string(),
  expires: z.string(),
  /** Where the device uses it, the preferred address first. */
  urls: z.array(z.string()),
  /** SHA-256 of the root certificate, by which the device knows the server at its first visit. */
  fingerprint: z.string(),
  knock: enrolmentKnock.optional(),
});
export type NewTokenResult = z.infer<typeof newTokenResult>;

/** `GET /enrolment/tokens`. */
export const tokenList = z.array(
  z.object({
    id: z.string(),
    device: z.string(),
    tenant: z.string(),
    roles: z.array(z.string()),
    groups: z.array(z.string()),
    created: z.string(),
    expires: z.string(),
    state: z.enum(["open", "used", "cancelled", "expired"]),
    used: z.object({ at: z.string(), from: z.string() }).optional(),
    cancelled: z.string().optional(),
  }),
);
export type TokenList = z.infer<typeof tokenList>;

/** `POST /enrolment/tokens/cancel`: by id, or all of a device. */
export const cancelRequest = z.strictObject({ which: z.string() });
export const cancelResult = z.object({ cancelled: z.array(z.string()) });

/** `POST /enrolment/claims`. */
export const newClaimRequest = z.strictObject({
  name: z.string(),
  tenant: z.string(),
  prefix: z.string(),
  roles: z.array(z.string()),
  groups: z.array(z.string()),
  devicesMax: z.number(),
  lifeMs: z.number(),
});

/** What devices are given from the factory, and `postern enrol --claim` reads. Holds a private key. */
export const claimFile = z.object({
  /** The version of this format. */
  postern: z.literal(1),
  claim: z.string(),
  prefix: z.string(),
  devicesMax: z.number(),
  expires: z.string(),
  est: z.array(z.object({ url: z.string() })).min(1),
  ca: z.string(),
  certificate: z.string(),
  key: z.string(),
  knock: enrolmentKnock.optional(),
});
export type NewClaimResult = z.infer<typeof claimFile>;

/** `GET /enrolment/claims`. */
export const claimList = z.array(
  z.object({
    name: z.string(),
    tenant: z.string(),
    prefix: z.string(),
    roles: z.array(z.string()),
    groups: z.array(z.string()),
    devices: z.number(),
    devicesMax: z.number(),
    expires: z.string(),
    state: z.enum(["open", "revoked", "expired", "exhausted"]),
  }),
);
export type ClaimList = z.infer<typeof claimList>;

/** `POST /enrolment/claims/revoke`. */
export const revokeClaimRequest = z.strictObject({ name: z.string() });
