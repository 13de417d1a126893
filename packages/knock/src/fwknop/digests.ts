/** The hashes that fwknop knows: Node's name, and characters of the hash in base64 without padding. */
export const fwknopDigests = {
  md5: { hash: "md5", characters: 22 },
  sha1: { hash: "sha1", characters: 27 },
  sha256: { hash: "sha256", characters: 43 },
  sha384: { hash: "sha384", characters: 64 },
  sha512: { hash: "sha512", characters: 86 },
  "sha3-256": { hash: "sha3-256", characters: 43 },
  "sha3-512": { hash: "sha3-512", characters: 86 },
} as const;
export type FwknopDigest = keyof typeof fwknopDigests;

const all: readonly FwknopDigest[] = ["md5", "sha1", "sha256", "sha384", "sha512", "sha3-256", "sha3-512"];

/** The hashes whose text has this length: two of SHA-2 and SHA-3 do. */
export function digestsOfLength(characters: number): readonly FwknopDigest[] {
  return all.filter((name) => fwknopDigests[name].characters === characters);
}

/** Base64 as fwknop writes it, without padding. */
export function unpadded(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64").replace(/=+$/, "");
}
