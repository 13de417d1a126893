import { randomBytes } from "node:crypto";
import { join } from "node:path";

import { readSecretIfThere, makePrivateDirectory, replacePrivateFile } from "@postern/identity/files";
import { GateStateError } from "@postern/gate/errors";
import { z } from "zod";

/** The name of the gate's socket in `run`. */
export const gateSocketName = "gate.sock";

const identitySchema = z.strictObject({
  postern: z.literal(1),
  gateId: z.string().regex(/^[0-9a-f]{16}$/),
  master: z.base64().length(44),
});

/** Which gate it is, and the key that the keys of all devices are derived from. */
export interface GateIdentity {
  readonly gateId: string;
  readonly master: Buffer;
}

/** The places of the gate's files in the data directory. */
export interface GateFiles {
  readonly identity: string;
  readonly accepted: string;
  readonly bans: string;
}

export function gateFiles(data: string): GateFiles {
  const directory = join(data, "gate");
  return {
    identity: join(directory, "identity.json"),
    accepted: join(directory, "accepted-knocks"),
    bans: join(directory, "bans"),
  };
}

/** `undefined` when there is none yet. @throws {GateStateError} when it is damaged, {PkiFileError} when others can read it. */
export function readGateIdentity(data: string): GateIdentity | undefined {
  const path = gateFiles(data).identity;
  const text = readSecretIfThere(path);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const parsed = identitySchema.safeParse(value);
  if (!parsed.success) {
    throw new GateStateError(
      `${path}, the gate's key, is damaged: put it back from a backup, or remove it and give every device a new bundle`,
    );
  }
  return { gateId: parsed.data.gateId, master: Buffer.from(parsed.data.master, "base64") };
}

/** Makes the gate's identity, or reads it. @throws as {@link readGateIdentity}; {DataDirectoryError} */
export function obtainGateIdentity(data: string): GateIdentity & { readonly created: boolean } {
  const found = readGateIdentity(data);
  if (found !== undefined) return { ...found, created: false };
  makePrivateDirectory(join(data, "gate"));
  const made = { gateId: randomBytes(8).toString("hex"), master: randomBytes(32) };
  const { gateId, master } = made;
  replacePrivateFile(
    gateFiles(data).identity,
    `${JSON.stringify({ postern: 1, gateId, master: master.toString("base64") })}\n`,
  );
  return { ...made, created: true };
}
