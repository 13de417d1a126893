import { z } from "zod";

/** `POST /enrolment/tokens`. The names are checked where the token is made. */
export const newTokenRequest = z.strictObject({
  device: z.string(),
  tenant: z.string(),
  roles: z.array(z.string()),
  groups: z.array(z.string()),
  lifeMs: z.number(),
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
