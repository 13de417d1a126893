/** Tags of COSE messages. @see RFC 9052 §2 */
export const coseTag = { encrypt0: 16, mac0: 17, sign1: 18, encrypt: 96, mac: 97, sign: 98 } as const;

/** Labels of header parameters. @see RFC 9052 §3.1, RFC 9053 §6, RFC 9597 §2, draft-ietf-cose-hpke §3.1 */
export const label = {
  alg: 1,
  crit: 2,
  contentType: 3,
  kid: 4,
  iv: 5,
  partialIv: 6,
  cwtClaims: 15,
  /** Of recipients: the encapsulated key of HPKE. */
  ek: -4,
} as const;

/** The claim for when something was issued, in seconds. @see RFC 8392 §3.1.6 */
export const issuedAtClaim = 6;

/** The content format of a COSE_Sign1 message. @see RFC 9052 §11.3 (CoAP content formats) */
export const sign1ContentFormat = 18;

/** Numbers of algorithms. @see RFC 9053, RFC 9054 §3.2, draft-ietf-cose-hpke §6.1 (key encryption) */
export const algorithm = {
  sha256: -16,
  es256: -7,
  es384: -35,
  eddsa: -8,
  hmac256: 5,
  aes256Gcm: 3,
  /** DHKEM(X25519), HKDF-SHA256, ChaCha20-Poly1305. */
  hpke4KeyEncryption: 50,
  /** DHKEM(P-256), HKDF-SHA256, AES-256-GCM. */
  hpke7KeyEncryption: 53,
} as const;
