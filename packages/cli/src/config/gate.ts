import { fwknopDigests, type FwknopDigest } from "@postern/knock/fwknop/digests";
import { stanzasMax } from "@postern/knock/fwknop/verifier";
import { parseIpAddress } from "@postern/knock/ip-address";
import { passwordsMax } from "@postern/knock/thesis/verifier";
import { isPeer } from "@postern/gate/host-profile/endpoint";
import { defaultBanRule } from "@postern/gate/sentry";
import { deviceNameRule, isDeviceName } from "@postern/pki/device-uri";
import { z } from "zod";

const port = z.int().min(1).max(65_535);
const seconds = z.int().min(1).max(3_600);
const name = z.string().refine(isDeviceName, { error: `must be a name: ${deviceNameRule}` });
const path = z.string().min(1).max(4_096);
const address = z
  .string()
  .refine((text) => parseIpAddress(text) !== undefined, { error: "must be an IP address" });

const fwknopClientSchema = z.strictObject({
  name,
  keyFile: path,
  hmacKeyFile: path,
  hmacDigest: z.literal(Object.keys(fwknopDigests)).optional(),
  username: z.string().min(1).max(64).optional(),
  roaming: z.boolean().optional(),
  weakDigests: z.boolean().optional(),
});

/** `gate:` in `postern.yaml`. */
export const gateSchema = z.strictObject({
  mode: z.enum(["on", "off"]).optional(),
  port: port.optional(),
  user: z.string().min(1).max(64).optional(),
  windowSeconds: seconds.optional(),
  windowSecondsMax: seconds.optional(),
  roaming: z.boolean().optional(),
  registered: z
    .array(z.string().refine(isPeer, { error: "must be an address or a prefix such as 192.168.1.0/24" }))
    .max(65_536)
    .optional(),
  bans: z
    .strictObject({
      invalidMax: z.int().min(1).max(1_000).optional(),
      withinMinutes: z.int().min(1).max(1_440).optional(),
      hours: z.number().min(0.01).max(8_760).optional(),
      strict: z.boolean().optional(),
    })
    .optional(),
  devices: z
    .array(
      z.strictObject({
        name,
        addresses: z.array(address).min(1).max(64).optional(),
        roaming: z.boolean().optional(),
        clockless: z.boolean().optional(),
      }),
    )
    .max(100_000)
    .optional(),
  fwknop: z
    .strictObject({ port: port.optional(), clients: z.array(fwknopClientSchema).min(1).max(stanzasMax) })
    .optional(),
  thesis: z
    .strictObject({
      port: port.optional(),
      transport: z.enum(["tcp", "udp"]).optional(),
      windowSeconds: seconds.optional(),
      skewSeconds: z.int().min(0).max(10).optional(),
      passwords: z
        .array(z.strictObject({ name, file: path }))
        .min(1)
        .max(passwordsMax),
    })
    .optional(),
});

/** What one device may do beyond the rest, or less. */
export interface DevicePolicy {
  readonly name: string;
  /** The only addresses it may knock from; `undefined` for any. */
  readonly addresses: readonly string[] | undefined;
  readonly roaming: boolean;
  readonly clockless: boolean;
}

export interface FwknopClient {
  readonly name: string;
  /** Files with the key as fwknop writes it: base64. */
  readonly keyFile: string;
  readonly hmacKeyFile: string;
  readonly hmacDigest: FwknopDigest;
  readonly username: string | undefined;
  readonly roaming: boolean;
  readonly weakDigests: boolean;
}

/** The gate, with everything decided. Paths are as given, relative to the configuration file. */
export interface GateConfiguration {
  /** UDP port of SPA1. */
  readonly port: number;
  /** Whom the server's processes run as; `undefined` to decide by the data directory. */
  readonly user: string | undefined;
  readonly windowSeconds: number;
  readonly windowSecondsMax: number;
  /** Whether devices may leave open which address their packet is for. */
  readonly roaming: boolean;
  /** Addresses and prefixes that may knock at all; `undefined` for all. */
  readonly registered: readonly string[] | undefined;
  readonly bans: {
    readonly invalidMax: number;
    readonly withinMinutes: number;
    readonly hours: number;
    readonly strict: boolean;
  };
  readonly devices: readonly DevicePolicy[];
  readonly fwknop: { readonly port: number; readonly clients: readonly FwknopClient[] } | undefined;
  readonly thesis:
    | {
        readonly port: number;
        readonly transport: "tcp" | "udp";
        readonly windowSeconds: number;
        readonly skewSeconds: number;
        readonly passwords: readonly { readonly name: string; readonly file: string }[];
      }
    | undefined;
}

export const defaultKnockPort = 62_201;
const defaultFwknopPort = 62_202;
/** @see thesis §3.8.1 */
const defaultThesisPort = 62_015;

function isDigest(text: string): text is FwknopDigest {
  return text in fwknopDigests;
}

/** `undefined` when there is to be no gate. */
export function resolveGate(given: z.infer<typeof gateSchema> | undefined): GateConfiguration | undefined {
  if (given === undefined || given.mode === "off") return undefined;
  const { bans = {}, fwknop, thesis, roaming = false } = given;
  const windowSeconds = given.windowSeconds ?? 15;
  return {
    port: given.port ?? defaultKnockPort,
    user: given.user,
    windowSeconds,
    windowSecondsMax: Math.max(given.windowSecondsMax ?? 60, windowSeconds),
    roaming,
    registered: given.registered,
    bans: {
      invalidMax: bans.invalidMax ?? defaultBanRule.invalidMax,
      withinMinutes: bans.withinMinutes ?? defaultBanRule.withinSeconds / 60,
      hours: bans.hours ?? defaultBanRule.banSeconds / 3_600,
      strict: bans.strict ?? false,
    },
    devices: (given.devices ?? []).map((device) => ({
      name: device.name,
      addresses: device.addresses,
      roaming: device.roaming ?? roaming,
      clockless: device.clockless ?? false,
    })),
    fwknop: fwknop && {
      port: fwknop.port ?? defaultFwknopPort,
      clients: fwknop.clients.map((client) => ({
        name: client.name,
        keyFile: client.keyFile,
        hmacKeyFile: client.hmacKeyFile,
        hmacDigest:
          client.hmacDigest !== undefined && isDigest(client.hmacDigest) ? client.hmacDigest : "sha256",
        username: client.username,
        roaming: client.roaming ?? false,
        weakDigests: client.weakDigests ?? false,
      })),
    },
    thesis: thesis && {
      port: thesis.port ?? defaultThesisPort,
      transport: thesis.transport ?? "tcp",
      windowSeconds: thesis.windowSeconds ?? 120,
      skewSeconds: thesis.skewSeconds ?? 0,
      passwords: thesis.passwords,
    },
  };
}

/** What a person should know before relying on this gate, each one sentence. */
export function gateWarnings(gate: GateConfiguration | undefined): string[] {
  if (gate?.thesis === undefined) return [];
  return [
    "gate.thesis opens to MD5(time:address:password), as in the thesis: who sees one such packet can find the password by trying; use SPA1 (postern knock) wherever it is possible",
  ];
}
