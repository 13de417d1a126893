import { readFileSync } from "node:fs";
import { resolve } from "node:path";

import { errorText } from "@postern/core/errors";
import { type Scenario } from "@postern/zigbee-sim/scenario";
import { scenarios } from "@postern/zigbee-sim/scenarios";
import { type Eui64, eui64At, parseEui64 } from "@postern/zigbee/eui64";
import { z } from "zod";

import { UsageError } from "../errors.ts";
import { fileIssue } from "./file-issue.ts";

const address = z.string().transform((text, context): Eui64 => {
  const parsed = parseEui64(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: "custom", message: "is not an address of 16 hexadecimal digits" });
  return z.NEVER;
});

const seconds = z.number().positive().max(86_400);
const channel = z.int().min(11).max(26);
const place = { x: z.number().min(-1_000).max(1_000), y: z.number().min(-1_000).max(1_000) };

const nodeSchema = z.strictObject({
  name: z.string().regex(/^[\w-]{1,32}$/, "is not a name of letters, digits and -"),
  kind: z.enum(["coordinator", "router", "end-device"]),
  ...place,
  address: address.optional(),
  sleeps: z.boolean().default(false),
  application: z.enum(["none", "thermometer", "contact", "lamp"]).default("none"),
  startSeconds: z.number().min(0).max(86_400).default(1),
  stopSeconds: seconds.optional(),
  pollSeconds: seconds.default(3),
  intervalSeconds: seconds.default(10),
});

/** A scenario of one's own: `base` names the one that comes with the simulator whose values apply where none are given. */
const scenarioSchema = z.strictObject({
  base: z.enum(["star", "tree", "mesh"]).default("star"),
  name: z.string().min(1).max(64).optional(),
  topology: z.enum(["star", "tree", "mesh"]).optional(),
  seconds: seconds.optional(),
  warmUpSeconds: seconds.optional(),
  channel: channel.optional(),
  nodes: z.array(nodeSchema).min(1).max(200).optional(),
  lossShare: z.number().min(0).max(1).optional(),
  shadowDb: z.number().min(0).max(20).optional(),
  interference: z
    .array(
      z.strictObject({
        ...place,
        channel,
        powerDbm: z.number().min(-50).max(40),
        burstUs: z.int().min(1).max(10_000_000),
        pauseUs: z.int().min(1).max(100_000_000),
      }),
    )
    .max(16)
    .optional(),
  sniffer: z.union([z.literal("everywhere"), z.strictObject(place)]).optional(),
  stack: z
    .strictObject({
      securityLevel: z.int().min(0).max(7),
      checksFreshness: z.boolean(),
      counterJumpMax: z.int().min(1),
      apsAcknowledgments: z.boolean(),
      apsEncryption: z.boolean(),
      acceptsUnsecuredData: z.boolean(),
      obeysDisassociation: z.boolean(),
      obeysRealignment: z.boolean(),
      resolvesPanConflicts: z.boolean(),
      panConflictHoldUs: z.int().min(0),
      rejectedMax: z.int().min(1),
      broadcastsEachSourceMax: z.int().min(1),
      broadcastTableMax: z.int().min(1).max(1_024),
      childrenMax: z.int().min(1).max(1_024),
      forgetsUnproved: z.boolean(),
      associationsEachMinuteMax: z.int().min(1),
      channels: z.array(channel).min(1),
      movesChannel: z.boolean(),
      joinsOnlyKnownNetworks: z.boolean(),
      hidesTraffic: z.boolean(),
    })
    .partial()
    .optional(),
  security: z
    .strictObject({
      model: z.enum(["centralized", "distributed"]),
      mode: z.enum(["residential", "commercial"]),
      linkKeys: z.enum(["none", "well-known", "install-code"]),
      masterKeys: z.boolean(),
      certificates: z.boolean(),
      onlyAllowed: z.boolean(),
      unsecuredRejoin: z.enum(["any-key", "own-key", "refused"]),
      oneJoinForEachKey: z.boolean(),
      issuesLinkKeys: z.boolean(),
      authenticationSeconds: seconds,
      devicesMax: z.int().min(1).max(100_000),
      permitSeconds: z.number().min(0).max(86_400),
      keyUpdateSeconds: z.number().min(0).max(86_400),
    })
    .partial()
    .optional(),
});

/** The scenario of that name, or of a JSON file. Throws `UsageError` with the place of the mistake. */
export function loadScenario(name: string, cwd: string): Scenario {
  const known = scenarios[name];
  if (known !== undefined) return known;
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(resolve(cwd, name), "utf8"));
  } catch (thrown) {
    const names = Object.keys(scenarios).join(", ");
    throw new UsageError(
      `${name} is neither one of ${names} nor a scenario that can be read: ${errorText(thrown)}`,
      { cause: thrown },
    );
  }
  const parsed = scenarioSchema.safeParse(value);
  if (!parsed.success) {
    throw new UsageError(fileIssue(name, parsed.error));
  }
  const { base, nodes, stack, security, ...rest } = parsed.data;
  const from = scenarios[base];
  if (from === undefined) throw new UsageError(`${name}: there is no scenario ${base}`);
  const scenario: Scenario = {
    ...from,
    name,
    ...defined(rest),
    nodes:
      nodes?.map((node, index) => Object.assign(node, { address: node.address ?? inventedAddress(index) })) ??
      from.nodes,
    stack: { ...from.stack, ...defined(stack ?? {}) },
    security: { ...from.security, ...defined(security ?? {}) },
  };
  const fault = scenarioFault(scenario);
  if (fault !== undefined) throw new UsageError(`${name}: ${fault}`);
  return scenario;
}

function inventedAddress(index: number): Eui64 {
  return eui64At(Uint8Array.of(index + 1, 0, 0x51, 0, 0x4d, 0x49, 0x53, 0x02), 0);
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** The fields that have a value. */
function defined<T extends object>(fields: T): Partial<Defined<T>> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Object.fromEntries forgets names and types
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<
    Defined<T>
  >;
}

function scenarioFault(scenario: Scenario): string | undefined {
  const { nodes, seconds: length, warmUpSeconds, security, stack } = scenario;
  const needsCentre =
    security.keyUpdateSeconds > 0 || security.masterKeys || security.certificates || stack.apsEncryption;
  if (security.model === "distributed" && needsCentre) {
    return "security.model is distributed: there is no trust centre for keyUpdateSeconds, masterKeys, certificates or apsEncryption";
  }
  const names = new Set(nodes.map(({ name }) => name));
  if (names.size < nodes.length) return "nodes: two devices have one name";
  if (new Set(nodes.map(({ address: eui }) => eui)).size < nodes.length)
    return "nodes: two devices have one address";
  const coordinators = nodes.filter(({ kind }) => kind === "coordinator").length;
  if (coordinators !== 1) return `nodes: there are ${coordinators} coordinators, not one`;
  const sleeper = nodes.find(({ kind, sleeps }) => kind !== "end-device" && sleeps);
  if (sleeper !== undefined) return `nodes: ${sleeper.name} is a ${sleeper.kind} and cannot sleep`;
  if (warmUpSeconds >= length) return `warmUpSeconds is ${warmUpSeconds}, not less than seconds (${length})`;
  return undefined;
}
