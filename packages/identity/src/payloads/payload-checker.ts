import type { AcceptedState, StoredMessage } from "@postern/core/session-store";
import { ageFault, openStructure, type RefusalCode } from "@postern/seal/envelope/open";
import { structureOf, type SealMode, type Structure } from "@postern/seal/envelope/structure";

import { AcceptedTable, type AcceptedPlace } from "./accepted-table.ts";
import { demandOn, type PayloadDemand } from "./demand.ts";
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
    return (
      this.#replayed(place, from) ?? this.#prove(structure, place, from) ?? this.#accept(payload, place, mode)
    );
  }

  /** Whether a message could have passed: for what was accepted before this rule was in force. */
  fits({ payload, publisher }: StoredMessage): boolean {
    if (payload.length === 0) return true;
    const found = structureOf(payload);
    if (found.kind !== "sealed") return false;
    const { mode, header } = found.structure;
    return this.#demand.modes.includes(mode) && header.sender === publisher;
  }

  /** What is encrypted proves nothing to those without the key, nor does a MAC whose key the operator keeps. */
  #proves({ mode }: Structure): boolean {
    return mode === "signed" || (mode === "mac" && this.#demand.macKeys !== undefined);
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
        return refused("outside-window", `message ${sequence} of "${sender}" is far behind its newest`);
      case "too-many-senders":
        return refused("too-many-senders", "there are more senders than can be remembered");
    }
  }

  /** What is wrong with it, as far as the broker can tell. */
  #prove(structure: Structure, { isProved }: AcceptedPlace, from: CheckedSource): CheckVerdict | undefined {
    const { maxAgeMs, macKeys } = this.#demand;
    const age = maxAgeMs === undefined ? undefined : { nowMs: from.nowMs, maxMs: maxAgeMs };
    const late = ageFault(structure.header, { age });
    if (late !== undefined) return refused(late.code, late.reason);
    if (!isProved && structure.mode !== "checksum") return undefined;
    const tenant = this.#options.tenantOf(from.publisher);
    const keys = {
      signers: () => this.#options.signers.of(from.publisher),
      ...(macKeys === undefined
        ? {}
        : { groupKey: (_topic: string, epoch: number) => macKeys.get(epoch) ?? missing(macKeys, epoch) }),
    };
    const opened = openStructure(structure, { tenant, topic: from.topic }, keys, { modes: [structure.mode] });
    return opened.kind === "opened"
      ? undefined
      : refused(opened.code, opened.reason, checksOf(structure.mode));
  }

  #accept(payload: Uint8Array, place: AcceptedPlace, mode: SealMode): CheckVerdict {
    this.#accepted.accept(place);
    return { kind: "accepted", payload, checks: checksOf(mode) };
  }
}

/** Signatures that are checked for it. */
function checksOf(mode: SealMode): number {
  return mode === "signed" ? 1 : 0;
}

function missing(keys: ReadonlyMap<number, unknown>, epoch: number): "future-epoch" | "expired-epoch" {
  return epoch > Math.max(...keys.keys()) ? "future-epoch" : "expired-epoch";
}

function refused(code: RefusalCode | "foreign-sender", reason: string, checks = 0): CheckVerdict {
  const reasonCode = misshapen.has(code) ? payloadFormatInvalid : notAuthorized;
  return { kind: "refused", reasonCode, reason: `${code}: ${reason}`, checks };
}
