import { bundleSchema } from "@postern/core/bundle";
import type { ConnectOptions } from "@postern/device/index";
import { z } from "zod";

/** As `connect` takes them; the test's own, which are not looked at. */
const optionsSchema = z.custom<ConnectOptions>((value) => typeof value === "object");

const id = z.number();

/** What a test asks of a device in a process of its own. */
export const callSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("connect"), id, bundle: bundleSchema, options: optionsSchema }),
  z.strictObject({ kind: z.literal("publish"), id, topic: z.string(), payload: z.string() }),
  z.strictObject({ kind: z.literal("subscribe"), id, filter: z.string() }),
  z.strictObject({ kind: z.literal("next"), id }),
  z.strictObject({ kind: z.literal("leave"), id }),
  z.strictObject({ kind: z.literal("close"), id }),
]);

export type Call = z.infer<typeof callSchema>;

/** What the device says. */
export const replySchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("done"), id, value: z.unknown() }),
  z.strictObject({ kind: z.literal("failed"), id, code: z.string(), text: z.string() }),
  z.strictObject({ kind: z.literal("refused"), code: z.string() }),
  z.strictObject({ kind: z.literal("keys"), serial: z.number() }),
  z.strictObject({ kind: z.literal("warning"), text: z.string() }),
]);

export type Reply = z.infer<typeof replySchema>;
