import { isIP } from "node:net";

import { limitsSchema, listenerLimitsSchema } from "@postern/broker/limits";
import { z } from "zod";

import { authenticationSchema } from "./authentication.ts";
import { revocationSchema } from "./revocation.ts";
import { trustAnchorSchema } from "./trust-anchors.ts";
import { gateSchema } from "./gate.ts";
import { parseListenerUrl } from "./listener-url.ts";

/** `1.2` is a number in YAML and meant as a version. */
const tlsVersion = z.preprocess(
  (value) => (typeof value === "number" ? value.toFixed(1) : value),
  z.enum(["1.2", "1.3"]),
);

/** A day: what RFC 5246 §F.1.4 advises as the most, and below the seven of RFC 8446 §4.6.1. */
const sessionSecondsMax = 86_400;

const sessionKeys = {
  sessionResumption: z.union([z.boolean(), z.enum(["tickets", "ids"])]).optional(),
  sessionSeconds: z.int().min(1).max(sessionSecondsMax).optional(),
};

const tlsSchema = z.strictObject({
  minVersion: tlsVersion.optional(),
  maxVersion: tlsVersion.optional(),
  ...sessionKeys,
  mustStaple: z.boolean().optional(),
  /** A server certificate of another authority: three files (PEM), relative to the configuration file. */
  certificate: z.string().min(1).optional(),
  key: z.string().min(1).optional(),
  ca: z.string().min(1).optional(),
});

/** As browsers write it: scheme, host and port, and nothing behind them. @see RFC 6454 §6.2 */
const origin = z.string().regex(/^[a-z][a-z0-9+.-]*:\/\/[^/?#\s@]+$/, {
  error: "must be an origin as browsers write it, such as https://cockpit.example.org",
});

const listenerUrl = z.string().superRefine((url, context) => {
  const address = parseListenerUrl(url);
  if (address.kind === "invalid") context.addIssue({ code: "custom", message: address.reason, input: url });
});

const listenerSchema = z.strictObject({
  url: listenerUrl,
  /** How messages and logs call it; the URL unless given. */
  name: z.string().min(1).max(64).optional(),
  anonymous: z.boolean().optional(),
  insecure: z.boolean().optional(),
  /** In plain text: takes passwords and tokens that are encrypted to the server's key. */
  sealedPasswords: z.boolean().optional(),
  limits: listenerLimitsSchema.optional(),
  /** Clients prove themselves by a pre-shared key instead of a certificate. */
  psk: z.boolean().optional(),
  origins: z.array(origin).optional(),
  tls: z.strictObject(sessionKeys).optional(),
});

const hostName = z
  .string()
  .refine(
    (name) =>
      isIP(name) !== 0 ||
      /^(?=.{1,253}$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*$/.test(
        name,
      ),
    {
      error: "must be a host name or an IP address",
    },
  );

export const logLevels = ["trace", "debug", "info", "warn", "error", "silent"] as const;
export const logFormats = ["auto", "pretty", "json"] as const;

const httpsUrl = /^https:\/\/(\[[0-9A-Fa-f:.]+\]|[^/:@?#[\]\s]+):(\d{1,5})\/?$/;

/** A life in days, from a minute to a bit more than a year. */
const days = z
  .number()
  .min(1 / 1440)
  .max(400);

const estSchema = z.strictObject({
  url: z
    .string()
    .refine((url) => url === "off" || (httpsUrl.test(url) && Number(httpsUrl.exec(url)?.[2]) <= 65_535), {
      error: "must be off or look like https://127.0.0.1:8885",
    })
    .optional(),
  certificateDays: days.optional(),
  renewalGraceDays: z.number().min(0).max(400).optional(),
  sameKeyRenewal: z.boolean().optional(),
  hidden: z.boolean().optional(),
});

const httpUrl = /^http:\/\/(\[[0-9A-Fa-f:.]+\]|[^/:@?#[\]\s]+):(\d{1,5})\/?$/;

/** One thread decides everything: more than a few have nothing to do beside it. */
export const workersMax = 16;

/** `postern.yaml`. Every key may be left out. */
export const configSchema = z.strictObject({
  listeners: z.array(listenerSchema).min(1).optional(),
  limits: limitsSchema.optional(),
  /** Threads that connections are spread over. */
  workers: z
    .union([z.literal("auto"), z.int().min(1).max(workersMax)], {
      error: `must be auto, or a whole number from 1 to ${workersMax}`,
    })
    .optional(),
  /** More host names and addresses that devices use for this server: in its certificate and in bundles. */
  names: z.array(hostName).optional(),
  tls: tlsSchema.optional(),
  authentication: authenticationSchema.optional(),
  log: z
    .strictObject({ level: z.enum(logLevels).optional(), format: z.enum(logFormats).optional() })
    .optional(),
  metrics: z
    .strictObject({
      url: z
        .string()
        .refine((url) => url === "off" || (httpUrl.test(url) && Number(httpUrl.exec(url)?.[2]) <= 65_535), {
          error: "must be off or look like http://127.0.0.1:9883",
        })
        .optional(),
      insecure: z.boolean().optional(),
    })
    .optional(),
  /** Enrolment over Secure Transport: certificates for devices over the network. @see RFC 7030 */
  est: estSchema.optional(),
  /** Telling others which certificates are revoked: CRL and OCSP over HTTP. */
  revocation: revocationSchema.optional(),
  /** Authorities of others that devices may have certificates of. */
  trustAnchors: z.array(trustAnchorSchema).max(64).optional(),
  /** Hides the listeners until somebody knocks. */
  gate: gateSchema.optional(),
  /** The data directory, relative to the configuration file. */
  data: z.string().min(1).optional(),
  /** @see MQTT 5.0 §4.11 */
  serverReference: z.string().min(1).max(1_024).optional(),
  /** @see MQTT 5.0 §4.10.1 */
  responseInformation: z.string().min(1).max(1_024).optional(),
});

/** What a configuration file says; see the schema. */
export type GivenConfiguration = z.infer<typeof configSchema>;

/** Host (IPv6 without brackets) and port of an `http://` or `https://` URL that the schema let pass. */
export function parseHttpUrl(url: string): { readonly host: string; readonly port: number } {
  const [, host = "", port = "0"] = httpUrl.exec(url) ?? httpsUrl.exec(url) ?? [];
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}
