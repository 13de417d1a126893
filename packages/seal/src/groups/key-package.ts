import { decodeCbor } from "../cbor/decode.ts";
import { encodeCbor } from "../cbor/encode.ts";
import type { CborValue } from "../cbor/value.ts";
import { decodeSign1, encodeSign1 } from "../cose/sign1.ts";
import { coseStructure } from "../envelope/binding.ts";
import { encodeSealedKeys, openKey, sealKey } from "../envelope/sealed-key.ts";
import { recipientsOf } from "../envelope/structure.ts";
import type { DecryptionKey, RecipientKey } from "../keys/recipient.ts";
import { isSignature, signatureOf, type SigningKey, type VerifyingKey } from "../keys/signature.ts";
import { decodeContent, encodeContent, type PackagedGroup } from "./package-content.ts";

/** Bytes of a package: far above what the limits of its content allow, far below what would fill a device. */
export const keyPackageBytesMax = 1_048_576;

/** Where the package of a device is published, retained. */
export function keyPackageTopic(device: string): string {
  return `$keys/${device}`;
}

/** Whom a package is for. */
export interface PackageAddress {
  readonly tenant: string;
  readonly device: string;
}

export interface KeyPackage extends PackageAddress {
  /** Each package of a device has a greater one than those before, so that an old one cannot take its place. */
  readonly serial: number;
  readonly groups: readonly PackagedGroup[];
}

export type PackageRefusal =
  | "malformed"
  /** Signed by none of the authorities that we trust, or for another device or tenant. */
  | "not-authentic"
  /** Encrypted to a key that we do not have: another certificate's. */
  | "not-a-recipient"
  /** Older than the one we have. */
  | "stale";

export type PackageResult =
  | { readonly kind: "package"; readonly content: KeyPackage }
  | { readonly kind: "refused"; readonly code: PackageRefusal; readonly reason: string };

const version = 1;
const context = "postern key package";

/**
 * The keys of a device's groups, encrypted to its certificate's key and signed by the key authority:
 *
 * ```
 * COSE_Sign1 { alg } [1, serial, << [recipient: HPKE to the device] >>]   external_aad: ["postern key package", tenant, device]
 * ```
 */
export function sealKeyPackage(
  content: KeyPackage,
  { recipient, authority }: { readonly recipient: RecipientKey; readonly authority: SigningKey },
): Buffer {
  const { tenant, device, serial, groups } = content;
  const sealed = encodeSealedKeys([
    sealKey(recipient, encodeContent(groups), encodeCbor([context, tenant, device, serial])),
  ]);
  const payload = encodeCbor([version, serial, sealed]);
  const externalAad = encodeCbor([context, tenant, device]);
  return encodeSign1(authority.algorithm, payload, (header) =>
    signatureOf(authority, coseStructure("Signature1", [header, externalAad, payload])),
  );
}

/** Opens one's own package. Never throws for what came. */
export function openKeyPackage(
  bytes: Uint8Array,
  address: PackageAddress,
  keys: { readonly authorities: readonly VerifyingKey[]; readonly decryption: readonly DecryptionKey[] },
): PackageResult {
  if (bytes.length > keyPackageBytesMax)
    return refused("malformed", `it has more than ${keyPackageBytesMax} bytes`);
  const parts = decodeSign1(bytes);
  if (parts === undefined) return refused("malformed", "it is not a signed package");
  const { tenant, device } = address;
  const signed = coseStructure("Signature1", [
    parts.header,
    encodeCbor([context, tenant, device]),
    parts.payload,
  ]);
  const isSigned = keys.authorities.some(
    (key) => key.algorithm === parts.algorithm && isSignature(key, signed, parts.signature),
  );
  if (!isSigned) {
    return refused(
      "not-authentic",
      `it is not signed by the key authority for "${device}" of the tenant "${tenant}"`,
    );
  }
  const inner = innerOf(parts.payload);
  if (inner === undefined) return refused("malformed", "what is signed is not a package");
  const info = encodeCbor([context, tenant, device, inner.serial]);
  for (const own of keys.decryption) {
    const opened = openKey(own, inner.sealed, info);
    if (opened === undefined) continue;
    const groups = decodeContent(opened);
    return typeof groups === "string"
      ? refused("malformed", groups)
      : { kind: "package", content: { tenant, device, serial: inner.serial, groups } };
  }
  return refused("not-a-recipient", `it is encrypted to another key than that of "${device}" here`);
}

function refused(code: PackageRefusal, reason: string): PackageResult {
  return { kind: "refused", code, reason };
}

function innerOf(payload: Uint8Array) {
  const decoded = decodeCbor(payload);
  if (decoded.kind === "malformed" || !Array.isArray(decoded.value)) return undefined;
  const [found, serial, sealed, ...more]: readonly CborValue[] = decoded.value;
  if (found !== version || typeof serial !== "number" || serial < 0 || more.length > 0) return undefined;
  if (!(sealed instanceof Uint8Array)) return undefined;
  const recipients = decodeCbor(sealed);
  if (recipients.kind === "malformed") return undefined;
  const keys = recipientsOf(recipients.value);
  const only = typeof keys === "string" || keys.length > 1 ? undefined : keys[0];
  return only === undefined ? undefined : { serial, sealed: only };
}
