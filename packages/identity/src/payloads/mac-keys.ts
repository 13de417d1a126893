import { errorText } from "@postern/core/errors";
import { GroupKey, groupSecretBytes } from "@postern/seal/keys/group-key";
import { z } from "zod";

import type { MacKeys } from "./demand.ts";

/** Epochs whose keys one file may hold. */
const epochsMax = 64;

/** With these the broker checks MACs, and reads nothing that is encrypted. */
const macKeysSchema = z.strictObject({
  postern: z.literal(1),
  /** The group, for people. */
  group: z.string().optional(),
  macKeys: z
    .array(z.strictObject({ epoch: z.int().min(0).max(0xffff_ffff), key: z.base64() }))
    .min(1)
    .max(epochsMax),
});

/** Reads the text of a file with MAC keys; what is wrong, as a text without anything of the keys, when it is none. */
export function parseMacKeys(text: string): MacKeys | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // V8's message quotes the text around the mistake, which may be the key.
    return "it is not JSON";
  }
  const result = macKeysSchema.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0];
    return issue === undefined ? errorText(result.error) : `"${issue.path.join(".")}": ${issue.message}`;
  }
  const keys = new Map<number, GroupKey>();
  for (const { epoch, key } of result.data.macKeys) {
    const bytes = Buffer.from(key, "base64");
    if (bytes.length !== groupSecretBytes)
      return `the key of epoch ${epoch} does not have ${groupSecretBytes} bytes`;
    if (keys.has(epoch)) return `it has two keys of epoch ${epoch}`;
    keys.set(epoch, GroupKey.macOnly(bytes, epoch));
  }
  return keys;
}

/** The text of a file with the MAC keys of a group, for a broker. Holds secrets: mode 0600. */
export function formatMacKeys(group: string, keys: Iterable<GroupKey>): string {
  const macKeys = Array.from(keys, (key) => ({ epoch: key.epoch, key: key.exportMac().toString("base64") }));
  return `${JSON.stringify({ postern: 1, group, macKeys }, undefined, 2)}\n`;
}
