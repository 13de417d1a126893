import { z } from "zod";

/**
 * Every limit of the broker. `docs/LIMITS.md` gives the reason for each default. Limits are checked before the
 * first side effect. A rate of 0 means that it is not limited; nothing else is ever unlimited.
 */
const count = (most = Number.MAX_SAFE_INTEGER) => z.int().min(1).max(most);
const rate = () => z.int().min(0);

/** Limits that may differ from listener to listener. */
const perListener = {
  packetBytesMax: count(268_435_460),
  connectBytesMax: count(268_435_460),
  connectTimeoutSeconds: count(3_600),
  receiveMaximum: count(65_535),
  topicAliasMaximum: z.int().min(0).max(65_535),
  topicAliasOutboundMaximum: z.int().min(0).max(65_535),
  keepAliveSecondsMax: count(65_535),
  clientIdBytesMax: count(65_535),
  topicBytesMax: count(65_535),
  topicLevelsMax: count(1_024),
  userPropertiesMax: z.int().min(0),
  filtersPerSubscribeMax: count(),
  subscriptionsPerSessionMax: count(),
  sessionExpirySecondsMax: z.int().min(0).max(0xff_ff_ff_ff),
  queuedMessagesMax: count(),
  queuedBytesMax: count(),
  queueFullPolicy: z.enum(["drop-oldest", "drop-newest"]),
  inflightMessagesMax: count(65_535),
  outboundBytesMax: count(),
  connectionsPerAddressMax: count(),
  halfOpenPerAddressMax: count(),
  connectionsPerSecondPerAddressMax: rate(),
  messagesPerSecondPerClientMax: rate(),
  bytesPerSecondPerClientMax: rate(),
  signatureChecksPerSecondPerClientMax: rate(),
};

/** Limits of the broker as a whole. */
const overall = {
  connectionsMax: count(),
  halfOpenMax: count(),
  connectionsPerSecondTotalMax: rate(),
  takeOversPerMinuteMax: rate(),
  sessionsMax: count(),
  sessionsPerIdentityMax: count(),
  queuedBytesTotalMax: count(),
  queuedMemoryBytesTotalMax: count(),
  outboundBytesTotalMax: count(),
  uncommittedBytesMax: count(),
  inboundBytesTotalMax: count(),
  retainedMessagesMax: count(),
  retainedBytesMax: count(),
  messagesPerSecondTotalMax: rate(),
  bytesPerSecondTotalMax: rate(),
  signatureChecksPerSecondTotalMax: rate(),
};

const everyLimit = z.strictObject({ ...perListener, ...overall });
export type Limits = z.infer<typeof everyLimit>;

export const defaultLimits: Limits = {
  packetBytesMax: 1_048_576,
  connectBytesMax: 4_096,
  connectTimeoutSeconds: 5,
  receiveMaximum: 256,
  topicAliasMaximum: 32,
  topicAliasOutboundMaximum: 32,
  keepAliveSecondsMax: 3_600,
  clientIdBytesMax: 512,
  topicBytesMax: 4_096,
  topicLevelsMax: 64,
  userPropertiesMax: 64,
  filtersPerSubscribeMax: 1_024,
  subscriptionsPerSessionMax: 1_024,
  sessionExpirySecondsMax: 2_592_000,
  queuedMessagesMax: 100_000,
  queuedBytesMax: 67_108_864,
  queueFullPolicy: "drop-oldest",
  inflightMessagesMax: 1_024,
  outboundBytesMax: 16_777_216,
  connectionsPerAddressMax: 1_000,
  halfOpenPerAddressMax: 256,
  connectionsPerSecondPerAddressMax: 100,
  messagesPerSecondPerClientMax: 0,
  bytesPerSecondPerClientMax: 0,
  signatureChecksPerSecondPerClientMax: 500,
  connectionsMax: 100_000,
  halfOpenMax: 5_000,
  connectionsPerSecondTotalMax: 0,
  takeOversPerMinuteMax: 10,
  sessionsMax: 500_000,
  sessionsPerIdentityMax: 100,
  queuedBytesTotalMax: 4_294_967_296,
  queuedMemoryBytesTotalMax: 268_435_456,
  outboundBytesTotalMax: 268_435_456,
  uncommittedBytesMax: 67_108_864,
  inboundBytesTotalMax: 268_435_456,
  retainedMessagesMax: 100_000,
  retainedBytesMax: 268_435_456,
  messagesPerSecondTotalMax: 0,
  bytesPerSecondTotalMax: 0,
  signatureChecksPerSecondTotalMax: 5_000,
};

/** `limits:` of the whole configuration: any subset; what is not given has its default. */
export const limitsSchema = everyLimit
  .partial()
  .transform((given): Limits => everyLimit.parse({ ...defaultLimits, ...given }));

/** `limits:` of one listener: any subset of those that concern one connection. */
export const listenerLimitsSchema = z.strictObject(perListener).partial();
export type ListenerLimits = z.infer<typeof listenerLimitsSchema>;

/** The limits in force on one listener: its own where it has some, otherwise the broker's. */
export function limitsOfListener(limits: Limits, own: ListenerLimits): Limits {
  return everyLimit.parse({ ...limits, ...own });
}
