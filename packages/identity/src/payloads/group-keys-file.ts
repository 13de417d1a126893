import { errorText } from "@postern/core/errors";
import { GroupKey, groupSecretBytes } from "@postern/seal/keys/group-key";
import { z } from "zod";

/** Epochs whose keys one file may hold. */
const epochsMax = 64;

/** Keys of a group by epoch. */
export type GroupKeys = ReadonlyMap<number, GroupKey>;

/** What a file holds: `macKeys` check MACs and read nothing that is encrypted; `groupKeys` are all that members have. */
export type KeyUse = "macKeys" | "groupKeys";

const keyList = z
  .array(z.strictObject({ epoch: z.int().min(0).max(0xffff_ffff), key: z.base64() }))
  .min(1)
  .max(epochsMax);

const schemas = {
  macKeys: z.strictObject({ postern: z.literal(1), group: z.string().optional(), macKeys: keyList }),
  groupKeys: z.strictObject({ postern: z.literal(1), group: z.string().optional(), groupKeys: keyList }),
};

/** Reads the text of a file with keys; what is wrong, as a text without anything of the keys, when it is none. */
export function parseGroupKeys(text: string, use: KeyUse): GroupKeys | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // V8's message quotes the text around the mistake, which may be the key.
    return "it is not JSON";
  }
  const result = schemas[use].safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0];
    return issue === undefined ? errorText(result.error) : `"${issue.path.join(".")}": ${issue.message}`;
  }
  const list = "macKeys" in result.data ? result.data.macKeys : result.data.groupKeys;
  const keys = new Map<number, GroupKey>();
  for (const { epoch, key } of list) {
    const bytes = Buffer.from(key, "base64");
    if (bytes.length !== groupSecretBytes)
      return `the key of epoch ${epoch} does not have ${groupSecretBytes} bytes`;
    if (keys.has(epoch)) return `it has two keys of epoch ${epoch}`;
    keys.set(epoch, use === "macKeys" ? GroupKey.macOnly(bytes, epoch) : GroupKey.of(bytes, epoch));
  }
  return keys;
}

/** The text of a file with the MAC keys of a group, for a broker. Holds secrets: mode 0600. */
export function formatMacKeys(group: string, keys: Iterable<GroupKey>): string {
  const macKeys = Array.from(keys, (key) => ({ epoch: key.epoch, key: key.exportMac().toString("base64") }));
  return `${JSON.stringify({ postern: 1, group, macKeys }, undefined, 2)}\n`;
}
