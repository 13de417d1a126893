/** Why a certificate was revoked. @see RFC 5280 §5.3.1 */
export const RevocationReason = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const;
export type RevocationReason = (typeof RevocationReason)[keyof typeof RevocationReason];

/** A certificate that its authority takes back. */
export interface Revocation {
  /** Hexadecimal of whole bytes. */
  readonly serialNumber: string;
  /** Wall clock. */
  readonly revokedAtMs: number;
  readonly reason: RevocationReason;
}

const names = new Map<number, string>(Object.entries(RevocationReason).map(([name, code]) => [code, name]));

/** The reason's name as RFC 5280 spells it, or its number when it has none. */
export function revocationReasonName(code: number): string {
  return names.get(code) ?? `reason ${code}`;
}
