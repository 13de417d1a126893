import { createHash, generateKeyPairSync, sign, type KeyObject } from "node:crypto";

import { newDevice, type Device } from "../device.ts";
import { LocalKeys } from "../tokens/key-source.ts";
import { TokenVerifier, type TokenIssuer } from "../tokens/token-verifier.ts";

export const nowMs = Date.UTC(2027, 0, 1);
export const nowSeconds = nowMs / 1_000;

export const es256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
export const ed25519 = generateKeyPairSync("ed25519");
export const rsa = generateKeyPairSync("rsa", { modulusLength: 2_048 });
export const strangers = generateKeyPairSync("ec", { namedCurve: "P-256" });

export function jwk(key: KeyObject, kid: string) {
  return { ...key.export({ format: "jwk" }), kid };
}
export const keySet = {
  keys: [jwk(es256.publicKey, "es"), jwk(ed25519.publicKey, "ed"), jwk(rsa.publicKey, "rsa")],
};

export const certificate = Buffer.from("a certificate");
export const thumbprint = createHash("sha256").update(certificate).digest("base64url");

export const part = (value: unknown): string =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

export const goodHeader = { alg: "ES256", typ: "JWT", kid: "es" };
export const goodClaims = { iss: "https://id.example.org", aud: "mqtt", sub: "pump", exp: nowSeconds + 600 };

/** A token with an ES256 signature over whatever is given. */
export function token(
  claims: unknown,
  header: unknown = goodHeader,
  key: KeyObject = es256.privateKey,
): string {
  const signed = `${part(header)}.${part(claims)}`;
  const signature = sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

export function localKeys(): LocalKeys {
  const keys = new LocalKeys([]);
  keys.load(JSON.stringify(keySet), "keys.json");
  return keys;
}

export function verifierOf(changes: Partial<TokenIssuer> = {}, more: readonly TokenIssuer[] = []) {
  const devices = new Map<string, Device>([
    ["pump", newDevice({ name: "pump", tenant: "default" }, nowMs)],
    [
      "thief",
      {
        ...newDevice({ name: "thief", tenant: "default" }, nowMs),
        revoked: { at: new Date(nowMs).toISOString(), reason: "keyCompromise" },
      },
    ],
  ]);
  const issuer: TokenIssuer = {
    issuer: "https://id.example.org",
    audiences: ["mqtt", "mqtt-2"],
    algorithms: ["ES256", "EdDSA"],
    keys: localKeys(),
    registered: false,
    roleClaim: undefined,
    groupClaim: undefined,
    ...changes,
  };
  const clock = { wallMs: () => nowMs, monotonicMs: () => 0 };
  const verifier = new TokenVerifier({
    issuers: [issuer, ...more],
    devices: { find: (name) => devices.get(name) },
    clock,
  });
  return { put: (device: Device) => devices.set(device.name, device), verifier };
}

export async function outcome(
  text: string,
  changes: Partial<TokenIssuer> = {},
  presented?: Uint8Array,
): Promise<string> {
  const verdict = await verifierOf(changes).verifier.verify(Buffer.from(text), presented);
  return verdict.kind === "accepted" ? verdict.identity.name : verdict.reason;
}
