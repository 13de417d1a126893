import { isDeviceName } from "@postern/pki/device-uri";
import { z } from "zod";

/** Why something was revoked, in the words of CRLs. @see RFC 5280 §5.3.1 */
export const revocationReasons = [
  "unspecified",
  "keyCompromise",
  "affiliationChanged",
  "superseded",
  "cessationOfOperation",
  "privilegeWithdrawn",
] as const;

/** Life of a device's certificate or token unless somebody says otherwise. */
export const credentialDays = 30;

const name = z.string().refine(isDeviceName, { error: "not a name" });
const time = z.iso.datetime();
const base64 = z.base64();
export const revocationSchema = z.strictObject({ at: time, reason: z.enum(revocationReasons) });

/** One device, as one line of the registry's file holds it. Holds secrets (`psk.key`) and what passwords are checked with. */
export const deviceSchema = z.strictObject({
  /** Unique in the installation: the name of the broker's identity, the user name, a token's `sub` and the PSK identity. */
  name,
  tenant: name,
  created: time,
  /** A removed device keeps its name, so that nobody else is given it by mistake. */
  removed: time.optional(),
  /** Nothing of the device is accepted any more; it can be given new credentials. */
  revoked: revocationSchema.optional(),
  /** When it was trusted again after it had been revoked or removed: enrolment tokens from before are good for nothing. */
  trustedAgain: time.optional(),
  roles: z.array(name),
  groups: z.array(name),
  /** Raised to give the device another knock key. */
  knockKeyVersion: z.int().min(1),
  /** All that it may still use and what was revoked before its end; a renewal overlaps with what it replaces. */
  certificates: z.array(
    z.strictObject({
      /** SHA-256 over the DER, as in `Certificate.fingerprint`. */
      fingerprint: z.string().regex(/^[0-9A-F]{2}(:[0-9A-F]{2}){31}$/),
      serialNumber: z.string().regex(/^[0-9A-F]+$/),
      notAfter: time,
      /** SHA-256 of the public key, as in `PublicKey.id`: a key belongs to one device. Those registered by earlier versions have none. */
      keyId: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .optional(),
      /** The public key itself (SubjectPublicKeyInfo, DER), for what the device signs and what is encrypted to it. */
      publicKey: base64.optional(),
      /** When a rotation ends its use before `notAfter`. */
      ends: time.optional(),
      revoked: revocationSchema.optional(),
    }),
  ),
  password: z
    .strictObject({
      /** A PHC string. */
      hash: z.string().startsWith("$argon2id$"),
      /** For SCRAM-SHA-256; absent for a password that a person chose. @see RFC 5802 §3 */
      scram: z
        .strictObject({
          salt: base64,
          iterations: z.int().min(4_096),
          storedKey: base64,
          serverKey: base64,
        })
        .optional(),
    })
    .optional(),
  /** The key in base64. */
  psk: z.strictObject({ identity: z.string().min(1).max(128), key: base64 }).optional(),
  tokens: z.array(
    z.strictObject({ jti: z.string().min(1).max(128), notAfter: time, revoked: revocationSchema.optional() }),
  ),
});

type DeepReadonly<T> = T extends readonly (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

/** A device as the registry knows it. */
export type Device = DeepReadonly<z.infer<typeof deviceSchema>>;
export type DeviceCertificate = Device["certificates"][number];

/** A device without credentials. */
export function newDevice(
  start: Pick<Device, "name" | "tenant"> & Partial<Pick<Device, "roles" | "groups">>,
  nowMs: number,
): Device {
  return {
    roles: [],
    groups: [],
    ...start,
    created: new Date(nowMs).toISOString(),
    knockKeyVersion: 1,
    certificates: [],
    tokens: [],
  };
}

/** Why nothing of this device is accepted, for the log; `undefined` when it is in use. */
export function refusalOfDevice({ removed, revoked }: Device): string | undefined {
  if (removed !== undefined) return `the device was removed at ${removed}`;
  return revoked === undefined ? undefined : `the device was revoked at ${revoked.at} (${revoked.reason})`;
}

/** Why this certificate of a device in use is not accepted, for the log. The certificate's own validity is not looked at. */
export function refusalOfCertificate(
  { revoked, ends }: Pick<DeviceCertificate, "revoked" | "ends">,
  nowMs: number,
): string | undefined {
  if (revoked !== undefined) return `it was revoked at ${revoked.at} (${revoked.reason})`;
  return ends !== undefined && nowMs >= Date.parse(ends)
    ? `it was replaced, and ended at ${ends}`
    : undefined;
}
