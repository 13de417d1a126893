import { argon2, randomBytes, timingSafeEqual } from "node:crypto";

/**
 * What a new hash costs: 22 ms of one core and 19 MB here, twice that when two run at once. It is OWASP's first choice for
 * argon2id; more memory was dearer than it looks (47 MB in one pass took 170 ms), because it no longer fits the caches.
 * A hash carries its own parameters, so these may change at any time.
 */
const memoryKib = 19_456;
const passes = 2;
const parallelism = 1;

const saltBytes = 16;
const tagBytes = 32;

/** A password of more bytes is refused unread: nobody types that, and all of it would be hashed. */
export const passwordBytesMax = 1_024;

/** What a stored hash may ask of us; one that was imported must not take the memory of the machine. */
const most = { memoryKib: 262_144, passes: 16, parallelism: 4 } as const;

/** A PHC string taken apart. */
interface ParsedHash {
  readonly memoryKib: number;
  readonly passes: number;
  readonly parallelism: number;
  readonly salt: Buffer;
  readonly tag: Buffer;
}

const phcFormat =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d?),p=([1-9]\d?)\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

/** A password as bytes, always in the same Unicode form, however it was typed. @see RFC 8265 §4.2 */
export function passwordBytes(password: string): Buffer {
  return Buffer.from(password.normalize("NFC"), "utf8");
}

/**
 * The argon2id hash of a password in PHC string format, with a new salt: `$argon2id$v=19$m=19456,t=2,p=1$salt$tag`.
 * Works on another thread. @see RFC 9106, https://github.com/P-H-C/phc-string-format
 * @throws {RangeError} for an empty password and for one of more than {@link passwordBytesMax} bytes.
 */
export async function hashPassword(password: Uint8Array): Promise<string> {
  if (password.length === 0 || password.length > passwordBytesMax)
    throw new RangeError(`a password of ${password.length} bytes; wanted 1 to ${passwordBytesMax}`);
  const parameters = { memoryKib, passes, parallelism, salt: randomBytes(saltBytes) };
  const tag = await derive(password, parameters, tagBytes);
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${parallelism}$${unpadded(parameters.salt)}$${unpadded(tag)}`;
}

/** Whether `hash` is a hash that {@link verifyPassword} can use, within bounds that do not hurt the machine. */
export function isPasswordHash(hash: string): boolean {
  return parse(hash) !== undefined;
}

/**
 * Whether `password` is the one that was hashed. Works on another thread, in a time that depends on the hash's parameters
 * only. False, at once, for something that is no hash and for a password longer than {@link passwordBytesMax}.
 */
export async function verifyPassword(hash: string, password: Uint8Array): Promise<boolean> {
  const parsed = parse(hash);
  if (parsed === undefined || password.length > passwordBytesMax) return false;
  const tag = await derive(password, parsed, parsed.tag.length);
  return timingSafeEqual(tag, parsed.tag);
}

/** A hash with today's parameters that no password has: what verifies against it takes as long as against a real one. */
export function hashOfNobody(): string {
  const salt = unpadded(randomBytes(saltBytes));
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${parallelism}$${salt}$${unpadded(randomBytes(tagBytes))}`;
}

function parse(hash: string): ParsedHash | undefined {
  const [, m, t, p, salt = "", tag = ""] = phcFormat.exec(hash) ?? [];
  const parsed = {
    memoryKib: Number(m),
    passes: Number(t),
    parallelism: Number(p),
    salt: Buffer.from(salt, "base64"),
    tag: Buffer.from(tag, "base64"),
  };
  const bounded =
    parsed.memoryKib >= 8 * parsed.parallelism &&
    parsed.memoryKib <= most.memoryKib &&
    parsed.passes <= most.passes &&
    parsed.parallelism <= most.parallelism;
  return bounded ? parsed : undefined;
}

function unpadded(bytes: Buffer): string {
  return bytes.toString("base64").replace(/=+$/, "");
}

function derive(
  password: Uint8Array,
  parameters: Omit<ParsedHash, "tag">,
  tagLength: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    argon2(
      "argon2id",
      {
        message: password,
        nonce: parameters.salt,
        parallelism: parameters.parallelism,
        memory: parameters.memoryKib,
        passes: parameters.passes,
        tagLength,
      },
      (error, tag) => (error === null ? resolve(tag) : reject(error)),
    );
  });
}
