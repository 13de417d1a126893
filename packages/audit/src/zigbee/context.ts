import { type Dissection } from "@postern/zigbee/dissection";
import { type Dissector } from "@postern/zigbee/dissector";
import { type Eui64 } from "@postern/zigbee/eui64";
import { type Keyring, type ZigbeeKey } from "@postern/zigbee/keyring";

import { Collector } from "../collector.ts";
import { type Confidence, type Evidence } from "../finding.ts";
import { zigbeeRules, type ZigbeeRuleId } from "./rules.ts";
import { type Survey } from "./survey.ts";

/** NWK addresses from here on are broadcasts. @see Zigbee Table 3-55 */
export const broadcastAddresses = 0xfff8;

/** Watches the frames of a capture in their order; what it finds goes to the context. */
export interface Detector {
  see(dissection: Dissection, pan: number): void;
  /** The capture has ended. */
  finish?(): void;
}

/** What all detectors share. */
export class AuditContext {
  readonly survey: Survey;
  readonly collector = new Collector<ZigbeeRuleId>(zigbeeRules);
  readonly #dissector: Dissector;
  readonly #keyring: Keyring;
  readonly #showKeys: boolean;

  constructor(parts: {
    readonly survey: Survey;
    readonly dissector: Dissector;
    readonly keyring: Keyring;
    readonly showKeys: boolean;
  }) {
    this.survey = parts.survey;
    this.#dissector = parts.dissector;
    this.#keyring = parts.keyring;
    this.#showKeys = parts.showKeys;
  }

  /** The EUI-64 behind a short address, or the short address. */
  deviceName(pan: number, short: number): string {
    return this.#dissector.address(pan, short) ?? hex16(short);
  }

  address(pan: number, short: number): Eui64 | undefined {
    return this.#dissector.address(pan, short);
  }

  /** How a report calls a key: its name if everybody knows it, its bytes if asked for, its fingerprint otherwise. */
  keyName(key: ZigbeeKey): string {
    if (key.origin.kind === "well-known") return key.origin.name;
    return this.#showKeys ? Buffer.from(key.reveal()).toString("hex") : key.toString();
  }

  /** Adds the frame of `dissection` to a finding. */
  add(
    id: ZigbeeRuleId,
    subject: string,
    dissection: Dissection,
    detail: {
      readonly confidence: Confidence;
      readonly summary: string | ((frameCount: number) => string);
      readonly fields: Readonly<Record<string, string | number | undefined>>;
    },
  ): void {
    this.collector.add(id, subject, dissection.frame.number, {
      confidence: detail.confidence,
      summary: detail.summary,
      evidence: () => this.evidence(dissection, detail.fields),
    });
  }

  /** Adds a frame, whose evidence was taken before, to a finding. */
  addEvidence(
    id: ZigbeeRuleId,
    subject: string,
    evidence: Evidence,
    detail: {
      readonly confidence: Confidence;
      readonly summary: string | ((frameCount: number) => string);
    },
  ): void {
    this.collector.add(id, subject, evidence.frame, { ...detail, evidence: () => evidence });
  }

  /** A frame as evidence: a copy, with all secret keys in it masked. */
  evidence({ frame }: Dissection, fields: Readonly<Record<string, string | number | undefined>>): Evidence {
    const decoded: Record<string, string | number> = {};
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) decoded[name] = value;
    const bytes = this.#masked(Buffer.from(frame.bytes).toString("hex"));
    return { frame: frame.number, timeUs: frame.timeUs, bytes, fields: decoded };
  }

  #masked(hex: string): string {
    if (this.#showKeys) return hex;
    let masked = hex;
    for (const use of ["network", "link", "mac"] as const) {
      for (const key of this.#keyring.keys(use)) {
        if (key.origin.kind === "well-known") continue;
        masked = masked.replaceAll(Buffer.from(key.reveal()).toString("hex"), "**".repeat(16));
      }
    }
    return masked;
  }
}

/** A 16-bit number as people write it: `0x1a62`. */
export function hex16(value: number): string {
  return `0x${value.toString(16).padStart(4, "0")}`;
}

/** How findings call a network. */
export function networkName(pan: number): string {
  return `network ${hex16(pan)}`;
}

/** Sets a value in a map that holds `limit` entries; the oldest gives way. */
export function setBounded<K, V>(map: Map<K, V>, key: K, value: V, limit: number): void {
  if (map.size >= limit && !map.has(key)) {
    const [oldest] = map.keys();
    if (oldest !== undefined) map.delete(oldest);
  }
  map.set(key, value);
}
