import { createPublicKey, type KeyObject } from "node:crypto";

import { decodeCbor } from "../cbor/decode.ts";
import { encodeCbor } from "../cbor/encode.ts";
import { decodeSign1, encodeSign1 } from "../cose/sign1.ts";
import { coseStructure } from "../envelope/binding.ts";
import { isSignature, signatureOf, signingKey, verifyingKey } from "../keys/signature.ts";
import type { PackageAddress } from "./key-package.ts";

/** Renewals that one message tells of, the newest: a key authority that was away for longer must be told otherwise. */
export const successionLinksMax = 16;

const context = "postern key succession";
const version = 1;

/** Where a device tells of its new key, retained: its key authority reads it there. */
export function successionTopic(device: string): string {
  return `$keys/${device}/next`;
}

/**
 * What a device publishes when it has renewed its certificate with another key: the new public key, signed with the one before. So
 * its key authority need not believe the broker, or whoever made the certificate, whose key it is.
 *
 * ```
 * [COSE_Sign1 by key 1 of [1, key 2], COSE_Sign1 by key 2 of [1, key 3], …]   external_aad: ["postern key succession", tenant, device]
 * ```
 *
 * `before` is what it published last, which is continued: the authority may not have seen that yet.
 * Throws `TypeError` for keys that do not sign.
 */
export function continueSuccession(
  before: Uint8Array | undefined,
  { tenant, device }: PackageAddress,
  keys: { readonly former: KeyObject; readonly next: KeyObject },
): Buffer {
  const spki = keys.next.export({ type: "spki", format: "der" });
  verifyingKey(keys.next);
  const signing = signingKey(keys.former);
  const payload = encodeCbor([version, spki]);
  const externalAad = encodeCbor([context, tenant, device]);
  const link = encodeSign1(signing.algorithm, payload, (header) =>
    signatureOf(signing, coseStructure("Signature1", [header, externalAad, payload])),
  );
  const links = (before === undefined ? undefined : linksOf(before)) ?? [];
  return encodeCbor([...links, link].slice(-successionLinksMax));
}

/**
 * Follows what a device has published from its newest key that is known (SubjectPublicKeyInfo, DER).
 * @returns the keys that came after it, the newest last; none when nothing follows from that key. Never throws for what came.
 */
export function followSuccession(
  bytes: Uint8Array,
  { tenant, device }: PackageAddress,
  known: Uint8Array,
): Buffer[] {
  const externalAad = encodeCbor([context, tenant, device]);
  const followed: Buffer[] = [];
  for (const link of linksOf(bytes) ?? []) {
    const parts = decodeSign1(link);
    const next = parts === undefined ? undefined : nextOf(parts.payload);
    if (parts === undefined || next === undefined) return [];
    const key = keyFrom(followed.at(-1) ?? known);
    const signed = coseStructure("Signature1", [parts.header, externalAad, parts.payload]);
    // Links from before the known key are of keys that count no longer.
    if (key?.algorithm !== parts.algorithm || !isSignature(key, signed, parts.signature)) continue;
    if (keyFrom(next) !== undefined) followed.push(Buffer.from(next));
  }
  return followed;
}

function linksOf(bytes: Uint8Array): Uint8Array[] | undefined {
  const decoded = decodeCbor(bytes);
  if (decoded.kind === "malformed" || !Array.isArray(decoded.value)) return undefined;
  const links: readonly unknown[] = decoded.value;
  if (links.length > successionLinksMax) return undefined;
  return links.every((link) => link instanceof Uint8Array) ? [...links] : undefined;
}

function nextOf(payload: Uint8Array): Uint8Array | undefined {
  const decoded = decodeCbor(payload);
  if (decoded.kind === "malformed" || !Array.isArray(decoded.value)) return undefined;
  const [found, spki]: readonly unknown[] = decoded.value;
  return found === version && spki instanceof Uint8Array ? spki : undefined;
}

function keyFrom(spki: Uint8Array) {
  try {
    return verifyingKey(createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" }));
  } catch {
    return undefined;
  }
}
