import { constants } from "node:crypto";
import type { SecureContextOptions } from "node:tls";

/** How the clients of a TLS listener prove who they are in TLS. */
export type TlsProof = "certificate" | "psk";

/**
 * All that a TLS listener will ever agree to, in the order in which it is preferred: an ephemeral key exchange and an AEAD, nothing
 * else. AES with 128 bits comes first because small devices pay for every round; a client that prefers ChaCha20, for want of AES in
 * hardware, is given it.
 *
 * TLS 1.2 knows an ECDHE-PSK suite with GCM (RFC 8442), OpenSSL does not: ChaCha20 is the one that is left (RFC 7905).
 */
export const tlsSuites = {
  "1.3": ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"],
  "1.2": {
    certificate: [
      "ECDHE-ECDSA-AES128-GCM-SHA256",
      "ECDHE-ECDSA-CHACHA20-POLY1305",
      "ECDHE-ECDSA-AES256-GCM-SHA384",
      "ECDHE-RSA-AES128-GCM-SHA256",
      "ECDHE-RSA-CHACHA20-POLY1305",
      "ECDHE-RSA-AES256-GCM-SHA384",
    ],
    psk: ["ECDHE-PSK-CHACHA20-POLY1305"],
  },
} as const;

/** Key exchange: the hybrid with ML-KEM first, so that what is recorded today stays closed to the quantum computers of tomorrow. */
export const tlsGroups = ["X25519MLKEM768", "X25519", "P-256", "P-384"] as const;

/** Signatures, of both sides: without SHA-1, and RSA only with 2,048 bits or more (security level 2). */
export const tlsSignatures = [
  "ecdsa_secp256r1_sha256",
  "ed25519",
  "ecdsa_secp384r1_sha384",
  "ecdsa_secp521r1_sha512",
  "rsa_pss_rsae_sha256",
  "rsa_pss_rsae_sha384",
  "rsa_pss_rsae_sha512",
  "rsa_pss_pss_sha256",
  "rsa_pss_pss_sha384",
  "rsa_pss_pss_sha512",
  // Only TLS 1.2 still signs its handshakes like this, and only with RSA.
  "rsa_pkcs1_sha256",
  "rsa_pkcs1_sha384",
  "rsa_pkcs1_sha512",
] as const;

const always =
  constants.SSL_OP_NO_RENEGOTIATION |
  constants.SSL_OP_NO_COMPRESSION |
  constants.SSL_OP_PRIORITIZE_CHACHA |
  constants.SSL_OP_CIPHER_SERVER_PREFERENCE;

/**
 * The options of a secure context that hold whoever brings the certificate: they go over what `given` says of the same. Of the
 * versions `given` may only choose among 1.2 and 1.3.
 */
export function withPolicy(
  given: SecureContextOptions,
  { proof, tickets }: { readonly proof: TlsProof; readonly tickets: boolean },
): SecureContextOptions {
  const { minVersion, maxVersion } = given;
  return {
    ...given,
    minVersion: minVersion === "TLSv1.3" ? minVersion : "TLSv1.2",
    maxVersion: maxVersion === "TLSv1.2" ? maxVersion : "TLSv1.3",
    ciphers: [...tlsSuites["1.3"], ...tlsSuites["1.2"][proof], "@SECLEVEL=2"].join(":"),
    ecdhCurve: tlsGroups.join(":"),
    sigalgs: tlsSignatures.join(":"),
    honorCipherOrder: true,
    secureOptions: (given.secureOptions ?? 0) | always | (tickets ? 0 : constants.SSL_OP_NO_TICKET),
  };
}
