import { deviceNameRule, isDeviceName } from "@postern/pki/device-uri";
import { isSharedFilter, isTopicFilter } from "@postern/mqtt/topics";
import { sealModes, type SealMode } from "@postern/seal/envelope/structure";
import { z } from "zod";

import { levelsWithPlaceholders } from "./placeholders.ts";

/** What a rule can be about. @see docs/PERMISSIONS.md */
export const operations = ["publish", "subscribe", "will", "retain", "persistentSession", "shared"] as const;
export type Operation = (typeof operations)[number];

/** Operations that write: nobody but the server does so under `$SYS`. */
const writing: ReadonlySet<Operation> = new Set(["publish", "will", "retain"]);

const topicFilter = z.string().superRefine((filter, context) => {
  const problem = filterProblem(filter);
  if (problem !== undefined) context.addIssue({ code: "custom", message: problem, input: filter });
});

function filterProblem(filter: string): string | undefined {
  if (isSharedFilter(filter)) return "must be the filter alone, with shared under allow";
  const levels = levelsWithPlaceholders(filter);
  if (typeof levels === "string") return levels;
  // A placeholder stands for at least one character that is no wildcard.
  if (!isTopicFilter(levels.map((parts) => parts.map(({ text }) => text ?? "x").join("")).join("/")))
    return "must be a topic filter: + fills a whole level, # the whole last one";
  return undefined;
}

const operationList = z.array(z.enum(operations)).min(1);
export const qosLevel = z.union([z.literal(0), z.literal(1), z.literal(2)], {
  error: "must be 0, 1 or 2",
});

const ruleSchema = z
  .strictObject({
    topics: z.array(topicFilter).min(1).optional(),
    allow: operationList.optional(),
    deny: operationList.optional(),
    /** All levels unless given. */
    qos: z.array(qosLevel).min(1).optional(),
  })
  .superRefine((rule, context) => {
    const { topics = [], allow, deny } = rule;
    const issue = (message: string): void => {
      context.addIssue({ code: "custom", message, input: "this rule" });
    };
    if ((allow === undefined) === (deny === undefined)) return issue("must have either allow or deny");
    const named = allow ?? deny ?? [];
    if (topics.length === 0 && named.some((operation) => operation !== "persistentSession"))
      return issue("must name topics (only persistentSession has none)");
    const system = topics.find((topic) => topic === "$SYS" || topic.startsWith("$SYS/"));
    if (system !== undefined && allow?.some((operation) => writing.has(operation)) === true)
      issue("must not allow writing under $SYS, which is the server's own");
  });

const countOrRate = z.int().min(1);

const ratesSchema = z.strictObject({
  messagesPerSecondMax: countOrRate.optional(),
  bytesPerSecondMax: countOrRate.optional(),
});

/** What each identity with the role may use at most, and, under `together`, all of them. */
const limitsSchema = z.strictObject({
  messagesPerSecondMax: countOrRate.optional(),
  bytesPerSecondMax: countOrRate.optional(),
  sessionsMax: countOrRate.optional(),
  queuedBytesMax: countOrRate.optional(),
  retainedMessagesMax: z.int().min(0).optional(),
  retainedBytesMax: z.int().min(0).optional(),
  together: ratesSchema.optional(),
});

const roleSchema = z.strictObject({
  rules: z.array(ruleSchema).optional(),
  limits: limitsSchema.optional(),
});

const plainFilter = z
  .string()
  .refine((filter) => !isSharedFilter(filter) && isTopicFilter(filter), { error: "must be a topic filter" });

const sealMode = z.enum(sealModes);

/** Any of several modes, or `none`. */
export const requiredModes = z.union([z.literal("none"), sealMode, z.array(sealMode).min(1)], {
  error: `must be none, ${sealModes.join(", ")}, or a list of these without none`,
});

/** How the server hands on what it opens. */
export const delivery = z.enum(["plain", "sealed"]);

/** What topics demand of payloads. @see docs/SEALING.md */
const payloadSchema = z
  .strictObject({
    topics: z.array(plainFilter).min(1),
    /** `none` takes topics out that a later entry names. */
    require: requiredModes,
    maxAgeSeconds: z.int().min(1).optional(),
    /** The file with the MAC keys of the group, relative to this one. */
    macKeys: z.string().min(1).optional(),
    /** What is encrypted to the server's own key is opened, and handed on in plain text or sealed for a group. */
    deliver: delivery.optional(),
    /** The file with the keys of that group, relative to this one. */
    groupKeys: z.string().min(1).optional(),
  })
  .superRefine((given, context) => {
    const problem = payloadProblem(given);
    if (problem !== undefined) context.addIssue({ code: "custom", message: problem, input: "this entry" });
  });

/** What contradicts itself in an entry that is well-formed. */
function payloadProblem({
  require,
  maxAgeSeconds,
  macKeys,
  deliver,
  groupKeys,
}: {
  readonly require: "none" | SealMode | readonly SealMode[];
  readonly maxAgeSeconds?: number | undefined;
  readonly macKeys?: string | undefined;
  readonly deliver?: "plain" | "sealed" | undefined;
  readonly groupKeys?: string | undefined;
}): string | undefined {
  if (require === "none")
    return (maxAgeSeconds ?? macKeys ?? deliver ?? groupKeys) === undefined
      ? undefined
      : "must have nothing beside topics where it requires none";
  const modes: readonly SealMode[] = typeof require === "string" ? [require] : require;
  if (macKeys !== undefined && !modes.includes("mac")) return "must require mac where it names macKeys";
  if (deliver !== undefined && !modes.every((mode) => mode === "encrypted" || mode === "signed+encrypted"))
    return "must require encrypted or signed+encrypted, and nothing else, where it says how to deliver";
  return (deliver === "sealed") === (groupKeys !== undefined)
    ? undefined
    : "must have both deliver: sealed and groupKeys, or neither";
}

const roleName = z.string().refine(isDeviceName, { error: `must be the name of a role: ${deviceNameRule}` });

/** `permissions.yaml`. */
export const permissionsSchema = z.strictObject({
  /** What becomes of a PUBLISH that is not permitted. */
  refusedPublish: z.enum(["drop", "disconnect"]).optional(),
  /** Whether a Response Topic must be one that its publisher may receive itself. */
  responseTopics: z.enum(["checked", "free"]).optional(),
  /** How long a retained message is kept, unseen, whose publisher may no longer leave it. */
  purgeRetainedAfterMinutes: z.int().min(0).max(525_600).optional(),
  /** What topics demand of payloads: the first entry with a filter that matches counts. */
  payloads: z.array(payloadSchema).optional(),
  roles: z.record(roleName, roleSchema).optional(),
});

export type GivenPayload = z.infer<typeof payloadSchema>;
export type GivenRule = z.infer<typeof ruleSchema>;
export type RoleLimits = z.infer<typeof limitsSchema>;
