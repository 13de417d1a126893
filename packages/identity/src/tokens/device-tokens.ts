import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  type KeyObject,
} from "node:crypto";
import { join } from "node:path";

import { calculateJwkThumbprint, exportJWK, SignJWT } from "jose";

import { PkiFileError } from "../errors.ts";
import { readSecretIfThere, replacePrivateFile } from "../files.ts";
import { LocalKeys } from "./key-source.ts";
import type { TokenIssuer } from "./token-verifier.ts";

/** `iss` and `aud` of the server's own tokens; what tells installations apart is the key. */
const own = "postern";

/** A token for one device, and what the registry must know of it. */
export interface DeviceToken {
  readonly token: string;
  readonly jti: string;
  /** ISO 8601, UTC. */
  readonly notAfter: string;
}

/** Makes the tokens of devices, with a key of its own that signs nothing else. */
export class DeviceTokens {
  readonly #key: KeyObject;
  readonly #kid: string;

  private constructor(key: KeyObject, kid: string) {
    this.#key = key;
    this.#kid = kid;
  }

  /** Reads the key, `token.key`, or makes it. @throws {PkiFileError}, {@link DataDirectoryError} */
  static async open(pki: string): Promise<DeviceTokens> {
    const path = join(pki, "token.key");
    let pem = readSecretIfThere(path);
    if (pem === undefined) {
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
      replacePrivateFile(path, pem);
    }
    const key = keyOf(pem, path);
    const kid = await calculateJwkThumbprint(await exportJWK(createPublicKey(key)));
    return new DeviceTokens(key, kid);
  }

  /** How to verify them. */
  get issuer(): TokenIssuer {
    const key = createPublicKey(this.#key);
    return {
      issuer: own,
      audiences: [own],
      algorithms: ["ES256"],
      keys: new LocalKeys([{ kid: this.#kid, key, algorithms: ["ES256"] }]),
      registered: true,
      roleClaim: undefined,
      groupClaim: undefined,
    };
  }

  /** A token that counts once the registry has its `jti`. */
  async issue(
    device: { readonly name: string; readonly tenant: string },
    { nowMs, lifeSeconds }: { readonly nowMs: number; readonly lifeSeconds: number },
  ): Promise<DeviceToken> {
    const nowSeconds = Math.floor(nowMs / 1_000);
    const jti = randomUUID();
    const token = await new SignJWT({ tenant: device.tenant })
      .setProtectedHeader({ alg: "ES256", typ: "JWT", kid: this.#kid })
      .setIssuer(own)
      .setAudience(own)
      .setSubject(device.name)
      .setJti(jti)
      .setIssuedAt(nowSeconds)
      .setExpirationTime(nowSeconds + lifeSeconds)
      .sign(this.#key);
    return { token, jti, notAfter: new Date((nowSeconds + lifeSeconds) * 1_000).toISOString() };
  }
}

function keyOf(pem: string, path: string): KeyObject {
  const mend = "put it back from a backup, or remove it and give the devices new tokens";
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (thrown) {
    throw new PkiFileError(`${path} holds no key that can be read: ${mend}`, { cause: thrown });
  }
  if (key.asymmetricKeyDetails?.namedCurve !== "prime256v1")
    throw new PkiFileError(`${path} holds another key than one of the curve P-256: ${mend}`);
  return key;
}
