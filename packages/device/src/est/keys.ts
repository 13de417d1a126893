import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";

export const keyTypes = ["P-256", "P-384", "Ed25519"] as const;
export type KeyType = (typeof keyTypes)[number];

/** A new private key; it exists in this process alone. */
export function newKey(type: KeyType): KeyObject {
  return type === "Ed25519"
    ? generateKeyPairSync("ed25519").privateKey
    : generateKeyPairSync("ec", { namedCurve: type }).privateKey;
}

/** A new key of the kind of `pem`. */
export function newKeyLike(pem: string): KeyObject {
  const { asymmetricKeyType, asymmetricKeyDetails } = createPrivateKey(pem);
  if (asymmetricKeyType === "ed25519") return newKey("Ed25519");
  return newKey(asymmetricKeyDetails?.namedCurve === "secp384r1" ? "P-384" : "P-256");
}

/** PKCS #8 in PEM: a secret. */
export function keyPem(key: KeyObject): string {
  return key.export({ format: "pem", type: "pkcs8" }).toString();
}
