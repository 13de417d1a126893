/**
 * The eight security levels: bit 2 says whether the payload is encrypted, bits 0 and 1 how long the integrity code is.
 * The same for MAC, NWK and APS frames. @see IEEE 802.15.4-2006 §7.6.2.2.1, Zigbee §4.5.1.1.1
 */
export interface SecurityLevel {
  readonly name: string;
  readonly encrypted: boolean;
  readonly micBytes: 0 | 4 | 8 | 16;
}

export const securityLevels = [
  { name: "none", encrypted: false, micBytes: 0 },
  { name: "MIC-32", encrypted: false, micBytes: 4 },
  { name: "MIC-64", encrypted: false, micBytes: 8 },
  { name: "MIC-128", encrypted: false, micBytes: 16 },
  { name: "ENC", encrypted: true, micBytes: 0 },
  { name: "ENC-MIC-32", encrypted: true, micBytes: 4 },
  { name: "ENC-MIC-64", encrypted: true, micBytes: 8 },
  { name: "ENC-MIC-128", encrypted: true, micBytes: 16 },
] as const satisfies readonly SecurityLevel[];

/** The level of the three bits; whatever stands above them is ignored. */
export function securityLevel(bits: number): SecurityLevel {
  return securityLevels[bits & 7] ?? securityLevels[0];
}
