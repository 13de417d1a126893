import type { AcceptedState, StoredMessage } from "@postern/core/session-store";
import {
  ageFault,
  openStructure,
  type Opened,
  type OpeningKeys,
  type RefusalCode,
  type Refused,
} from "@postern/seal/envelope/open";
import { structureOf, type Structure } from "@postern/seal/envelope/structure";
import type { DecryptionKey } from "@postern/seal/keys/recipient";
import { farBehind } from "@postern/seal/replay/replay-window";

import { AcceptedTable, type AcceptedPlace } from "./accepted-table.ts";
import { demandOn, type PayloadDemand } from "./demand.ts";
import type { Resealer } from "./resealer.ts";
import type { SignerKeys } from "./signer-keys.ts";

/** @see MQTT 5.0 §2.4 */
const notAuthorized = 0x87;
const payloadFormatInvalid = 0x99;

/** What is not sealed as the topic demands, as opposed to what is sealed by the wrong one, or too late. */
const misshapen: ReadonlySet<string> = new Set<RefusalCode>([
  "not-sealed",
  "malformed",
  "unknown-algorithm",
  "wrong-mode",
  "undated",
]);

export interface CheckedSource {
  readonly topic: string;
  readonly publisher: string;
  readonly repeated: boolean;
  readonly nowMs: number;
}

export type CheckVerdict = { readonly checks: number } & (
  | { readonly kind: "accepted"; readonly payload: Uint8Array }
  | { readonly kind: "repeated" }
  | { readonly kind: "refused"; readonly reasonCode: number; readonly reason: string }
);

export interface PayloadCheckerOptions {
  readonly signers: Pick<SignerKeys, "of">;
  /** The tenant that the payloads of a publisher are bound to. */
  readonly tenantOf: (publisher: string) => string;
  /** The server's own, for topics whose payloads are encrypted to it. */
  readonly decryption?: DecryptionKey | undefined;
  /** Seals for groups what was opened. */
  readonly resealer: Resealer;
  /** Whether there is still such a publisher, for what is taken up at the start. */
  readonly isKnown: (publisher: string) => boolean;
}

/** Holds payloads to what the permissions file demands of them: as far as that can be told without the keys of end-to-end topics. */
export class PayloadChecker {
  readonly #options: PayloadCheckerOptions;
  readonly #accepted = new AcceptedTable();
  #demands: readonly PayloadDemand[] = [];
  /** One for each demand. */
  #rules = new Map<PayloadDemand, CheckedRule>();

  constructor(options: PayloadCheckerOptions) {
    this.#options = options;
  }

  /** From now on other demands hold. Whoever asked for rules before must ask again. */
  use(demands: readonly PayloadDemand[]): void {
    this.#demands = demands;
    this.#rules = new Map(
      demands.map((demand) => [demand, new CheckedRule(demand, this.#options, this.#accepted)]),
    );
  }

  ruleOn(topic: string): CheckedRule | undefined {
    if (this.#demands.length === 0) return undefined;
    const found = demandOn(this.#demands, topic);
    return found === undefined ? undefined : this.#rules.get(found.demand);
  }

  load(accepted: Iterable<AcceptedState>): void {
    for (const each of accepted) if (this.#options.isKnown(each.sender)) this.#accepted.load(each);
  }

  takeAccepted(): readonly AcceptedState[] {
    return this.#accepted.take();
  }
}

/** What one entry of the permissions file demands. */
class CheckedRule {
  readonly #demand: PayloadDemand;
  readonly #options: PayloadCheckerOptions;
  readonly #accepted: AcceptedTable;

  constructor(demand: PayloadDemand, options: PayloadCheckerOptions, accepted: AcceptedTable) {
    this.#demand = demand;
    this.#options = options;
    this.#accepted = accepted;
  }

  /** Structure, mode, sender and replay first: they cost some microseconds, a signature a hundred. */
  check(payload: Uint8Array, from: CheckedSource): CheckVerdict {
    const found = structureOf(payload);
    if (found.kind !== "sealed") return refused(found.kind, found.reason);
    const { structure } = found;
    const { mode, header } = structure;
    const { modes } = this.#demand;
    if (!modes.includes(mode))
      return refused("wrong-mode", `it is protected by "${mode}", wanted is ${modes.join(" or ")}`);
    if (header.sender !== from.publisher) {
      const whose = from.publisher === "" ? "an anonymous client" : `"${from.publisher}"`;
      return refused(
        "foreign-sender",
        `it names "${header.sender}" as its sender, and the session is that of ${whose}`,
      );
    }
    const place = { ...header, isProved: this.#proves(structure) };
    const refusal = this.#replayed(place, from) ?? this.#late(structure, from);
    if (refusal !== undefined) return refusal;
    const opened = this.#open(structure, place, from);
    const checks = this.#checksOf(structure);
    if (opened?.kind === "refused") return refused(opened.code, opened.reason, checks);
    this.#accepted.accept(place);
    if (opened === undefined || this.#demand.deliver === undefined)
      return { kind: "accepted", payload, checks };
    return { kind: "accepted", payload: this.#delivered(opened.payload, from), checks };
  }

  /** What is handed on in plain text was sealed against those on the way. */
  get confidential(): boolean {
    return this.#demand.deliver === "plain";
  }

  /** Whether a message could have passed: for what was accepted before this rule was in force. */
  fits({ payload, publisher }: StoredMessage): boolean {
    if (payload.length === 0 || this.confidential) return true;
    const found = structureOf(payload);
    if (found.kind !== "sealed") return false;
    const { mode, header } = found.structure;
    const { modes, deliver } = this.#demand;
    // What was opened here was sealed anew, with the key of a group.
    const isFit = deliver === "sealed" ? mode === "encrypted" : modes.includes(mode);
    return isFit && header.sender === publisher;
  }

  /** What is encrypted end to end proves nothing to those without the key, nor does a MAC whose key the operator keeps. */
  #proves({ mode }: Structure): boolean {
    const { macKeys, deliver } = this.#demand;
    switch (mode) {
      case "signed":
        return true;
      case "mac":
        return macKeys !== undefined;
      case "signed+encrypted":
        return deliver !== undefined;
      case "checksum":
      case "encrypted":
        return false;
    }
  }

  /** What is done with public keys: to open what is encrypted to one costs as much as four signatures. */
  #checksOf({ mode }: Structure): number {
    const opening = this.#demand.deliver === undefined ? 0 : 4;
    return mode === "signed" ? 1 : opening + (mode === "signed+encrypted" && opening > 0 ? 1 : 0);
  }

  #replayed(place: AcceptedPlace, { repeated }: CheckedSource): CheckVerdict | undefined {
    const verdict = this.#accepted.judge(place);
    const { sequence, sender } = place;
    switch (verdict) {
      case "fresh":
        return undefined;
      case "replayed":
        if (repeated) return { kind: "repeated", checks: 0 };
        return refused("replayed", `message ${sequence} of "${sender}" was accepted before`);
      case "outside-window":
        return refused("outside-window", farBehind(sequence, sender));
      case "too-many-senders":
        return refused("too-many-senders", "there are more senders than can be remembered");
    }
  }

  #late({ header }: Structure, { nowMs }: CheckedSource): CheckVerdict | undefined {
    const { maxAgeMs } = this.#demand;
    const late = ageFault(header, { age: maxAgeMs === undefined ? undefined : { nowMs, maxMs: maxAgeMs } });
    return late === undefined ? undefined : refused(late.code, late.reason);
  }

  /** Proves it, as far as the broker can, and opens what is for the server; `undefined` where there is nothing it could do. */
  #open(
    structure: Structure,
    { isProved }: AcceptedPlace,
    { publisher, topic }: CheckedSource,
  ): Opened | Refused | undefined {
    const { macKeys, deliver } = this.#demand;
    const { decryption, signers, tenantOf } = this.#options;
    if (!isProved && structure.mode !== "checksum" && deliver === undefined) return undefined;
    const keys: OpeningKeys = {
      signers: () => signers.of(publisher),
      ...(macKeys === undefined
        ? {}
        : { groupKey: (_topic: string, epoch: number) => macKeys.get(epoch) ?? missing(macKeys, epoch) }),
      ...(decryption === undefined ? {} : { decryption: [decryption] }),
    };
    return openStructure(structure, { tenant: tenantOf(publisher), topic }, keys, {
      modes: [structure.mode],
    });
  }

  #delivered(payload: Uint8Array, { topic, publisher, nowMs }: CheckedSource): Uint8Array {
    const { groupKeys } = this.#demand;
    if (groupKeys === undefined) return payload;
    const tenant = this.#options.tenantOf(publisher);
    return this.#options.resealer.seal(payload, groupKeys, { tenant, topic, sender: publisher }, nowMs);
  }
}

function missing(keys: ReadonlyMap<number, unknown>, epoch: number): "future-epoch" | "expired-epoch" {
  return epoch > Math.max(...keys.keys()) ? "future-epoch" : "expired-epoch";
}

function refused(code: RefusalCode | "foreign-sender", reason: string, checks = 0): CheckVerdict {
  const reasonCode = misshapen.has(code) ? payloadFormatInvalid : notAuthorized;
  return { kind: "refused", reasonCode, reason: `${code}: ${reason}`, checks };
}
