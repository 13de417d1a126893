import { randomBytes } from "node:crypto";

import { hashPassword, passwordBytes } from "./password-hash.ts";
import { deriveScramKeys, type ScramKeys } from "./scram-keys.ts";

/** 160 bits, written in 32 characters that survive every config file, shell and keyboard. */
const generatedBytes = 20;
const alphabet = "abcdefghijkmnopqrstuvwxyz2345678";

/** A password that a person chose has at least this many characters: what is shorter is on somebody's list. */
const chosenPasswordCharactersMin = 12;

/** What the registry keeps of a device's password. */
export interface PasswordCredential {
  /** argon2id, in PHC string format. */
  readonly hash: string;
  /** For SCRAM-SHA-256; absent for a password that a person chose. */
  readonly scram?: ScramKeys;
}

/** A new password, random and too long to guess. */
export function generatePassword(): string {
  const bytes = randomBytes(generatedBytes);
  let bits = 0n;
  for (const byte of bytes) bits = (bits << 8n) | BigInt(byte);
  let password = "";
  for (let index = 0; index < (generatedBytes * 8) / 5; index += 1) {
    password += alphabet.charAt(Number(bits & 31n));
    bits >>= 5n;
  }
  return password;
}

/**
 * What to keep of a password. SCRAM keys are made for a generated one only: from them a password that a person chose could be
 * guessed far faster than from its argon2id hash, which would then protect nothing.
 * @throws {RangeError} for a chosen password that is too short, and for any that is too long.
 */
export async function createPasswordCredential(
  password: string,
  { generated }: { readonly generated: boolean },
): Promise<PasswordCredential> {
  const bytes = passwordBytes(password);
  const characters = Array.from(password).length;
  if (!generated && characters < chosenPasswordCharactersMin)
    throw new RangeError(
      `a password of ${characters} characters; wanted at least ${chosenPasswordCharactersMin}`,
    );
  const hash = await hashPassword(bytes);
  return generated ? { hash, scram: await deriveScramKeys(bytes) } : { hash };
}
