import { errorText } from "@postern/core/errors";
import { GroupKey, groupSecretBytes } from "@postern/seal/keys/group-key";
import { z } from "zod";

/** Epochs whose keys one file may hold. */
const epochsMax = 64;

/** Keys of a group by epoch, for checking MACs. */
export type MacKeys = ReadonlyMap<number, GroupKey>;

/** A key that members have, and from when on it is sealed with. */
export interface SealingKey {
  readonly key: GroupKey;
  readonly notBeforeMs: number;
}

/** What is sealed with for a group, the newest first; never empty. */
export type SealingKeys = readonly SealingKey[];

const head = { postern: z.literal(1), group: z.string().optional() };
const epoch = z.int().min(0).max(0xffff_ffff);

const macKeysSchema = z.strictObject({
  ...head,
  macKeys: z
    .array(z.strictObject({ epoch, key: z.base64() }))
    .min(1)
    .max(epochsMax),
});

const groupKeysSchema = z.strictObject({
  ...head,
  groupKeys: z
    .array(z.strictObject({ epoch, key: z.base64(), notBefore: z.iso.datetime().optional() }))
    .min(1)
    .max(epochsMax),
});

/** Reads a file with which MACs are checked, and nothing is read that is encrypted; what is wrong, as a text without anything of the keys, when it is none. */
export function parseMacKeys(text: string): MacKeys | string {
  const file = parsed(text, macKeysSchema);
  if (typeof file === "string") return file;
  const list = file.macKeys.map(({ epoch, key }) => ({ epoch, bytes: Buffer.from(key, "base64") }));
  const problem = problemOf(list);
  if (problem !== undefined) return problem;
  return new Map(list.map(({ epoch, bytes }) => [epoch, GroupKey.macOnly(bytes, epoch)]));
}

/** Reads a file with which a server seals for a group, as `parseMacKeys`. */
export function parseGroupKeys(text: string): SealingKeys | string {
  const file = parsed(text, groupKeysSchema);
  if (typeof file === "string") return file;
  const list = file.groupKeys.map(({ epoch, key, notBefore }) => ({
    epoch,
    bytes: Buffer.from(key, "base64"),
    notBeforeMs: notBefore === undefined ? 0 : Date.parse(notBefore),
  }));
  const problem = problemOf(list);
  if (problem !== undefined) return problem;
  return list
    .sort((a, b) => b.epoch - a.epoch)
    .map(({ epoch, bytes, notBeforeMs }) => ({ key: GroupKey.of(bytes, epoch), notBeforeMs }));
}

function parsed<File>(text: string, schema: z.ZodType<File>): File | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // V8's message quotes the text around the mistake, which may be the key.
    return "it is not JSON";
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  return issue === undefined ? errorText(result.error) : `"${issue.path.join(".")}": ${issue.message}`;
}

function problemOf(
  keys: readonly { readonly epoch: number; readonly bytes: Uint8Array }[],
): string | undefined {
  const seen = new Set<number>();
  for (const { epoch, bytes } of keys) {
    if (bytes.length !== groupSecretBytes)
      return `the key of epoch ${epoch} does not have ${groupSecretBytes} bytes`;
    if (seen.has(epoch)) return `it has two keys of epoch ${epoch}`;
    seen.add(epoch);
  }
  return undefined;
}

/** The text of a file with the MAC keys of a group, for a broker. Holds secrets: mode 0600. */
export function formatMacKeys(group: string, keys: Iterable<GroupKey>): string {
  const macKeys = Array.from(keys, (key) => ({ epoch: key.epoch, key: key.exportMac().toString("base64") }));
  return `${JSON.stringify({ postern: 1, group, macKeys }, undefined, 2)}\n`;
}

/** The text of a file with which a server seals for a group. Holds the secrets of the group: mode 0600. */
export function formatGroupKeys(
  group: string,
  keys: Iterable<{ readonly epoch: number; readonly secret: Uint8Array; readonly notBeforeMs: number }>,
): string {
  const groupKeys = Array.from(keys, ({ epoch, secret, notBeforeMs }) => ({
    epoch,
    key: Buffer.from(secret).toString("base64"),
    notBefore: new Date(notBeforeMs).toISOString(),
  }));
  return `${JSON.stringify({ postern: 1, group, groupKeys }, undefined, 2)}\n`;
}
