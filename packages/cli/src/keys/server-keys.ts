import { errorText } from "@postern/core/errors";
import { replacePrivateFile } from "@postern/device/private-file";
import { formatGroupKeys, formatMacKeys } from "@postern/identity/payloads/group-keys-file";
import type { Group, GroupMode } from "@postern/seal/groups/group";
import { GroupKey } from "@postern/seal/keys/group-key";

import { UsageError } from "../errors.ts";
import { groupFrom, requireGroup } from "./groups.ts";
import type { KeyDirectory, KeyState } from "./key-directory.ts";

type StoredGroup = KeyState["groups"][number];

/** What a server is given of a group: its MAC keys, to check MACs; or all that members have, to seal in the place of devices without TLS. */
export type ServerUse = "macKeys" | "groupKeys";

interface UseOf {
  /** The only groups that a server can do this for. */
  readonly mode: GroupMode;
  readonly why: string;
  /** The text of the file. */
  readonly format: (group: Group, nowMs: number) => string;
  /** What becomes of a file that is not as it should be. */
  readonly stale: string;
  readonly command: string;
}

const uses: Readonly<Record<ServerUse, UseOf>> = {
  macKeys: {
    mode: "mac",
    why: "the server checks MACs, of groups with --mode mac, and needs no key for anything else",
    format: ({ name, epochs }, nowMs) => {
      const open = epochs.filter(({ openUntilMs }) => (openUntilMs ?? Infinity) > nowMs);
      return formatMacKeys(
        name,
        open.map(({ secret, epoch }) => GroupKey.of(secret, epoch)),
      );
    },
    stale: "the server refuses MACs of newer keys",
    command: "mac-keys",
  },
  groupKeys: {
    mode: "encrypted",
    why: "the server seals for groups with --mode encrypted; it cannot sign for a device",
    format: ({ name, epochs }, nowMs) => {
      const current = epochs.findIndex(({ notBeforeMs }) => notBeforeMs <= nowMs);
      // It opens nothing, and needs none of the keys before.
      return formatGroupKeys(name, current === -1 ? epochs : epochs.slice(0, current + 1));
    },
    stale: "the server seals with an old key, which members open only for a while",
    command: "group-keys",
  },
};

function fileOf(stored: StoredGroup, use: ServerUse): string | undefined {
  return use === "macKeys" ? stored.macKeysFile : stored.groupKeysFile;
}

/**
 * Writes a file for a server, and has it written with each new key.
 * @throws {UsageError} when the group is of another mode, {DeviceFileError} when the file cannot be written.
 */
export function keepServerKeys(
  keys: KeyDirectory,
  name: string,
  { use, file, nowMs }: { readonly use: ServerUse; readonly file: string; readonly nowMs: number },
): void {
  const group = requireGroup(keys, name);
  const { mode, why, format } = uses[use];
  if (group.mode !== mode) throw new UsageError(`the group "${name}" has the mode "${group.mode}": ${why}`);
  replacePrivateFile(file, format(group, nowMs), { keepsOwner: true });
  for (const stored of keys.state.groups) {
    if (stored.name !== name) continue;
    if (use === "macKeys") stored.macKeysFile = file;
    else stored.groupKeysFile = file;
  }
}

/** A file for a server, ready to be written. */
export interface ServerFile {
  readonly file: string;
  readonly content: string;
  /** What is said where that fails. */
  readonly otherwise: string;
}

/** The files with keys of a directory's groups as they are now. */
export function serverFiles({ state }: KeyDirectory, use: ServerUse, nowMs: number): readonly ServerFile[] {
  const { format, stale, command } = uses[use];
  return state.groups.flatMap((stored) => {
    const file = fileOf(stored, use);
    if (file === undefined) return [];
    const { name } = stored;
    const otherwise = `with the file as it is, ${stale} of "${name}": name another one with keys group ${command} ${name} --file FILE`;
    return [{ file, content: format(groupFrom(stored, state.devices), nowMs), otherwise }];
  });
}

/** Writes files for a server. One that cannot be written is told of with `warn`. */
export function writeServerFiles(files: readonly ServerFile[], warn: (sentence: string) => void): void {
  for (const { file, content, otherwise } of files) {
    try {
      replacePrivateFile(file, content, { keepsOwner: true });
    } catch (thrown) {
      warn(`${errorText(thrown)}; ${otherwise}`);
    }
  }
}

/**
 * Writes the directory, and the files of MAC keys that go with it: a server checks MACs with any key that members may have. The change
 * itself must not wait for a file that cannot be written, or a device that was removed would keep its keys for as long. A server that seals
 * is given a key when members are (`serverFiles` of `groupKeys`): before, nobody could open what it seals.
 */
export function saveGroups(keys: KeyDirectory, nowMs: number, warn: (sentence: string) => void): void {
  keys.save();
  writeServerFiles(serverFiles(keys, "macKeys", nowMs), warn);
}
