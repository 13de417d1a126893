import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto";

/**
 * Rounds of PBKDF2 for new keys: what RFC 7677 §4 calls a tenth of a second on a handset. The client spends them at each
 * connection and we only once, so a small device decides how many can be asked for.
 */
export const scramIterations = 15_000;

const saltBytes = 16;

/**
 * What the server keeps to check a SCRAM-SHA-256 proof and to prove itself. Base64. It lets nobody log in, but a weak password
 * can be guessed from it thirty times faster than from an argon2id hash: it is made for generated passwords only.
 * @see RFC 5802 §3, RFC 7677
 */
export interface ScramKeys {
  readonly salt: string;
  readonly iterations: number;
  readonly storedKey: string;
  readonly serverKey: string;
}

/** Makes the keys of a password, by default with a new salt. Works on another thread. @see RFC 5802 §3 */
export async function deriveScramKeys(
  password: Uint8Array,
  { salt, iterations }: { readonly salt: Uint8Array; readonly iterations: number } = {
    salt: randomBytes(saltBytes),
    iterations: scramIterations,
  },
): Promise<ScramKeys> {
  const salted = await pbkdf2Sha256(password, salt, iterations);
  return {
    salt: Buffer.from(salt).toString("base64"),
    iterations,
    storedKey: createHash("sha256").update(hmac(salted, "Client Key")).digest("base64"),
    serverKey: hmac(salted, "Server Key").toString("base64"),
  };
}

/** HMAC-SHA-256. */
export function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function pbkdf2Sha256(password: Uint8Array, salt: Uint8Array, iterations: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    pbkdf2(password, salt, iterations, 32, "sha256", (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}
