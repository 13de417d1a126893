/** Key encapsulation mechanisms. @see RFC 9180 §7.1 */
export type KemName = "P-256" | "X25519";

/** @see RFC 9180 §7.3 */
export type AeadName = "AES-128-GCM" | "AES-256-GCM" | "ChaCha20-Poly1305";

/** All suites have HKDF-SHA256 as their key derivation function. */
export interface HpkeSuite {
  readonly kem: KemName;
  readonly aead: AeadName;
}

interface Kem {
  readonly id: number;
  /** All of a SubjectPublicKeyInfo (DER) up to the key itself. @see RFC 5480 §2, RFC 8410 §4 */
  readonly spkiPrefix: Buffer;
  /** Npk, which is Nenc: bytes of a public key as it is sent. */
  readonly publicKeyBytes: number;
}

export const kems: Readonly<Record<KemName, Kem>> = {
  "P-256": {
    id: 0x0010,
    spkiPrefix: Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex"),
    publicKeyBytes: 65,
  },
  X25519: { id: 0x0020, spkiPrefix: Buffer.from("302a300506032b656e032100", "hex"), publicKeyBytes: 32 },
};

interface Aead {
  readonly id: number;
  /** As OpenSSL calls it. */
  readonly cipher: "aes-128-gcm" | "aes-256-gcm" | "chacha20-poly1305";
  readonly keyBytes: number;
}

export const aeads: Readonly<Record<AeadName, Aead>> = {
  "AES-128-GCM": { id: 0x0001, cipher: "aes-128-gcm", keyBytes: 16 },
  "AES-256-GCM": { id: 0x0002, cipher: "aes-256-gcm", keyBytes: 32 },
  "ChaCha20-Poly1305": { id: 0x0003, cipher: "chacha20-poly1305", keyBytes: 32 },
};

/** HKDF-SHA256. */
export const kdfId = 0x0001;
