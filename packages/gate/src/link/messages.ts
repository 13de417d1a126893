import { parseIpAddress, parseIpSource, type IpAddress, type IpSource } from "@postern/knock/ip-address";
import { z } from "zod";

/*
 * What gate and broker say to each other over the gate's Unix socket, one JSON object a line. The gate listens, because it is there
 * longer; whoever connects says `hello` first, and each side ends a conversation in another version.
 *
 *   broker                                   gate
 *     hello {role: broker} ─────────────────►
 *     ◄───────────────────────────── welcome
 *     devices, live … ──────────────────────►        who may knock, who is connected: all of it, again after each start
 *     ◄────────────────────────────── window         somebody knocked; the kernel opens after
 *     acknowledge ──────────────────────────►        this
 *     connected ────────────────────────────►        a single-use window closes
 *     ◄─────────────────────────────── close         it closed
 *     failure, forget … ────────────────────►
 *
 *   operator: hello {role: operator}, request ─►, ◄─ answer
 */
export const linkProtocol = 1;

/** Devices in one message. */
const devicesPerMessageMax = 500;
/** Devices in one message of ours: so few that knocks are not held up while it is read. */
export const devicesPerMessage = 50;

const name = z.string().min(1).max(256);
const port = z.int().min(0).max(65_535);
const time = z.int().min(0);
const address = z
  .string()
  .max(64)
  .transform((text, context): IpAddress => {
    const parsed = parseIpAddress(text);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: "custom", message: "not an IP address" });
    return z.NEVER;
  });
const source = z
  .string()
  .max(64)
  .transform((text, context): IpSource => {
    const parsed = parseIpSource(text);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: "custom", message: "neither an IP address nor the /64 of one" });
    return z.NEVER;
  });

/** A device that may knock. Its key is derived by the gate, from its own. */
const deviceSchema = z.strictObject({
  name,
  tenant: name,
  keyVersion: z.int().min(1),
  clockless: z.boolean(),
  roaming: z.boolean(),
  /** `null` for all. */
  services: z.array(port).max(64).nullable(),
  /** `null` for any. */
  addresses: z.array(address).max(64).nullable(),
});
/** As the other side writes it. */
export type LinkDevice = z.input<typeof deviceSchema>;
export type KnownDevice = z.output<typeof deviceSchema>;

const connection = { device: name, address };

export const failureKinds = ["password", "certificate", "token", "psk", "permission", "admission"] as const;
export type FailureKind = (typeof failureKinds)[number];

export const requestSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("status") }),
  z.strictObject({ kind: z.literal("bans") }),
  z.strictObject({ kind: z.literal("ban"), source, seconds: z.int().min(1).max(31_536_000) }),
  z.strictObject({ kind: z.literal("lift"), source: source.nullable() }),
]);
export type OperatorRequest = z.output<typeof requestSchema>;

/** What the gate is told. */
export const toGateSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("hello"),
    protocol: z.int(),
    role: z.enum(["broker", "operator"]),
  }),
  z.strictObject({
    kind: z.literal("devices"),
    /** Begins a complete list: those that are not in it are forgotten with its last part. */
    first: z.boolean(),
    last: z.boolean(),
    devices: z.array(deviceSchema).max(devicesPerMessageMax),
  }),
  z.strictObject({ kind: z.literal("device"), device: deviceSchema }),
  /** A device was removed or revoked: its windows close, its packets are unknown. */
  z.strictObject({ kind: z.literal("forget"), device: name }),
  z.strictObject({ kind: z.literal("acknowledge"), id: z.int() }),
  z.strictObject({ kind: z.literal("live"), ...connection }),
  z.strictObject({ kind: z.literal("connected"), ...connection }),
  z.strictObject({ kind: z.literal("disconnected"), ...connection }),
  z.strictObject({ kind: z.literal("failure"), address, cause: z.enum(failureKinds) }),
  z.strictObject({ kind: z.literal("request"), id: z.int(), request: requestSchema }),
]);
export type ToGate = z.output<typeof toGateSchema>;
export type ToGateInput = z.input<typeof toGateSchema>;

export const windowSchema = z.strictObject({
  kind: z.literal("window"),
  id: z.int(),
  /** The window that it takes the place of: the device knocked again. */
  replaces: z.int().nullable(),
  /** `null`: any device that authenticates. */
  device: name.nullable(),
  address,
  /** 6 bytes in hexadecimal digits. */
  certBind: z
    .string()
    .regex(/^[0-9a-f]{12}$/)
    .nullable(),
  untilMs: time,
});

export const statusSchema = z.strictObject({
  startedAtMs: time,
  /** `null` when there is none. */
  broker: z.strictObject({ sinceMs: time }).nullable(),
  devices: z.int(),
  /** Whether all devices can be recognised by now. */
  ready: z.boolean(),
  bans: z.int(),
  flooded: z.boolean(),
  /** Since the start: `received`, `accepted`, and refusals by reason. */
  counters: z.record(z.string(), z.int()),
  /** The last to close first, at most 100. */
  windows: z.array(
    z.strictObject({ device: name.nullable(), address, ports: z.array(port), untilMs: time, uses: z.int() }),
  ),
  windowCount: z.int(),
  /** The newest first, at most 50. */
  knocks: z.array(
    z.strictObject({ atMs: time, source: z.string(), device: name.nullable(), outcome: z.string() }),
  ),
});
export type GateStatus = z.output<typeof statusSchema>;

export const bansSchema = z.array(z.strictObject({ source, untilMs: time }));

/** What the gate tells. */
export const fromGateSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("welcome"), protocol: z.int() }),
  windowSchema,
  z.strictObject({ kind: z.literal("close"), id: z.int() }),
  /** Whether the kernel may let everybody come to hidden ports, and it cannot be mended. */
  z.strictObject({ kind: z.literal("exposed"), exposed: z.boolean() }),
  z.strictObject({
    kind: z.literal("answer"),
    id: z.int(),
    answer: z.discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("status"), status: statusSchema }),
      z.strictObject({ kind: z.literal("bans"), bans: bansSchema, total: z.int() }),
      z.strictObject({ kind: z.literal("done"), count: z.int() }),
      z.strictObject({ kind: z.literal("failed"), message: z.string() }),
    ]),
  }),
]);
export type FromGate = z.output<typeof fromGateSchema>;
export type FromGateInput = z.input<typeof fromGateSchema>;
export type Answer = Extract<FromGateInput, { kind: "answer" }>["answer"];
