import type { KeyObject } from "node:crypto";

import { Purpose, deviceOf, verifyLeaf, type Certificate } from "@postern/pki/certificate";

import { EnrolmentAnswerError } from "../errors.ts";
import { askEst, certificatesOf, granted, type EstPlace } from "./est-client.ts";

/** Longer chains are nobody's. */
const chainMax = 8;

/** Whom we trust and what they may have signed with. */
export interface Authorities {
  /** PEM: what the server's certificate must lead to. */
  readonly ca: string;
  /** The certificates in `ca`. */
  readonly trusted: readonly Certificate[];
  /** Authorities as the server shows them, once TLS has proved that it is the server. */
  readonly others: readonly Certificate[];
}

/** Asks a server whom we trust for the authorities between. */
export async function fetchAuthorities(
  place: EstPlace,
  { ca, trusted }: Pick<Authorities, "ca" | "trusted">,
): Promise<Authorities> {
  const tls = { ca, cert: undefined, key: undefined };
  const answer = await askEst(place, tls, { method: "GET", path: "/.well-known/est/cacerts" });
  const shown = certificatesOf(granted(answer, place, "to show its authorities"), place);
  const isTrusted = ({ fingerprint }: Certificate) =>
    trusted.some((other) => other.fingerprint === fingerprint);
  return {
    ca,
    trusted,
    others: shown.filter((certificate) => !isTrusted(certificate) && certificate.authority),
  };
}

function signedBy(certificate: Certificate, issuer: Certificate): boolean {
  return certificate.x509.checkIssued(issuer.x509) && certificate.x509.verify(issuer.x509.publicKey);
}

/**
 * The authorities between `leaf` and a root, next to the leaf first; `undefined` when signatures do not lead there. The root is one we trust, or
 * one that the server shows: its own certificate may be of another authority than those of its devices. @see RFC 7030 §4.1.1
 */
function between(leaf: Certificate, { trusted, others }: Authorities): Certificate[] | undefined {
  const chain: Certificate[] = [];
  let last = leaf;
  while (chain.length < chainMax) {
    const child = last;
    if (trusted.some((issuer) => signedBy(child, issuer))) return chain;
    const issuer = others.find((other) => !chain.includes(other) && signedBy(child, other));
    if (issuer === undefined) return undefined;
    if (signedBy(issuer, issuer)) return chain;
    chain.push(issuer);
    last = issuer;
  }
  return undefined;
}

/** A certificate that was checked and can be used. */
export interface Issued {
  readonly leaf: Certificate;
  /** PEM: the leaf and the authorities between. */
  readonly chain: string;
}

function wrong(problem: string): EnrolmentAnswerError {
  return new EnrolmentAnswerError(`the server issued a certificate that cannot be used: ${problem}`);
}

/**
 * Makes sure that what a server issued is what was asked for: for our key, for this device, signed by those we trust, good now.
 * @throws {EnrolmentAnswerError}
 */
export function checkIssued(
  certificates: readonly Certificate[],
  wanted: {
    readonly key: KeyObject;
    readonly device: string;
    readonly authorities: Authorities;
    readonly nowMs: number;
  },
): Issued {
  const { key, device, authorities, nowMs } = wanted;
  const leaf = certificates.find(({ x509 }) => x509.checkPrivateKey(key));
  if (leaf === undefined) throw wrong("it is not for the key that was sent");
  const chain = between(leaf, authorities);
  if (chain === undefined) throw wrong("it was not issued by an authority that the server shows");
  const issuers = [...authorities.trusted, ...authorities.others];
  const verified = verifyLeaf({ certificate: leaf, issuers, purpose: Purpose.clientAuth, nowMs });
  if (verified.kind === "invalid") throw wrong(verified.reason);
  if (deviceOf(leaf)?.device !== device) throw wrong(`it is not for the device "${device}"`);
  return { leaf, chain: [leaf, ...chain].map(({ x509 }) => x509.toString()).join("") };
}
