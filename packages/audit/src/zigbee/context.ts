import { type Dissection } from "@postern/zigbee/dissection";
import { type Dissector } from "@postern/zigbee/dissector";
import { type Eui64 } from "@postern/zigbee/eui64";
import { type Keyring, type ZigbeeKey } from "@postern/zigbee/keyring";

import { Collector } from "../collector.ts";
import { type Confidence, type Evidence, type Finding } from "../finding.ts";
import { zigbeeRules, type ZigbeeRuleId } from "./rules.ts";
import { type CaptureFacts } from "./survey.ts";

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
  readonly facts: CaptureFacts;
  readonly collector = new Collector<ZigbeeRuleId>(zigbeeRules);
  /** What a detector found out that limits the audit, in sentences. */
  readonly notes: string[] = [];
  readonly #dissector: Dissector;
  readonly #keyring: Keyring;
  readonly #showKeys: boolean;

  constructor(parts: {
    readonly facts: CaptureFacts;
    readonly dissector: Dissector;
    readonly keyring: Keyring;
    readonly showKeys: boolean;
  }) {
    this.facts = parts.facts;
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

  /** A frame as evidence: a copy of its bytes, in which `findings` masks keys. */
  evidence({ frame }: Dissection, fields: Readonly<Record<string, string | number | undefined>>): Evidence {
    const decoded: Record<string, string | number> = {};
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) decoded[name] = value;
    const bytes = Buffer.from(frame.bytes).toString("hex");
    return { frame: frame.number, timeUs: frame.timeUs, bytes, fields: decoded };
  }

  /** What was found, with all secret keys masked in the bytes of evidence: also those that were learnt after a frame. */
  findings(): Finding[] {
    if (this.#showKeys) return this.collector.findings();
    const secrets = (["network", "link", "mac", "green-power"] as const)
      .flatMap((use) => this.#keyring.keys(use))
      .filter(({ origin }) => origin.kind !== "well-known")
      .map((key) => Buffer.from(key.reveal()).toString("hex"));
    const masked = (hex: string): string =>
      secrets.reduce((text, secret) => text.replaceAll(secret, "**".repeat(16)), hex);
    return this.collector.findings(({ frame, timeUs, bytes, fields }) => {
      return { frame, timeUs, bytes: masked(bytes), fields };
    });
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
