import type { Device } from "../device.ts";
import type { CredentialKind } from "./requests.ts";

type Revocation = NonNullable<Device["revoked"]>;

/** A certificate or token of a device, as far as its end goes. */
interface Proof {
  readonly notAfter: string;
  readonly revoked?: Revocation | undefined;
}

/** `proof`, revoked: from now on, unless it was before. */
export function revokedProof<T extends Proof>(proof: T, revoked: Revocation): T {
  return { ...proof, revoked: proof.revoked ?? revoked };
}

/** `device`, all of whose certificates and tokens are revoked. */
export function allRevoked(device: Device, revoked: Revocation): Device {
  return {
    ...device,
    certificates: device.certificates.map((entry) => revokedProof(entry, revoked)),
    tokens: device.tokens.map((entry) => revokedProof(entry, revoked)),
  };
}

/** `device` without its password and its pre-shared key. */
export function withoutSecrets({ password: _password, psk: _psk, ...device }: Device): Device {
  return device;
}

/** `device`, whose certificates and tokens of these kinds are good for the overlap only; without one they are revoked. */
export function endingAt(
  device: Device,
  kinds: readonly CredentialKind[],
  { overlapSeconds, nowMs }: { readonly overlapSeconds: number; readonly nowMs: number },
): Device {
  const endsMs = nowMs + overlapSeconds * 1_000;
  const ends = new Date(endsMs).toISOString();
  const revoked: Revocation = { at: ends, reason: "superseded" };
  const isEarlier = (proof: Proof, end = proof.notAfter): boolean =>
    proof.revoked !== undefined || Date.parse(end) <= endsMs;
  const { certificates, tokens } = device;
  return {
    ...device,
    certificates: certificates.map((entry) => {
      if (!kinds.includes("certificate") || isEarlier(entry)) return entry;
      if (overlapSeconds === 0) return revokedProof(entry, revoked);
      return isEarlier(entry, entry.ends) ? entry : Object.assign({}, entry, { ends });
    }),
    tokens: tokens.map((entry) => {
      if (!kinds.includes("token") || isEarlier(entry)) return entry;
      if (overlapSeconds === 0) return revokedProof(entry, revoked);
      return Object.assign({}, entry, { notAfter: ends });
    }),
  };
}
