import { matchesFilter } from "@postern/mqtt/topics";
import type { SealMode } from "@postern/seal/envelope/structure";

import type { GivenPayload } from "../permissions/schema.ts";
import type { MacKeys, SealingKeys } from "./group-keys-file.ts";

/** What the topics of one entry of the permissions file demand of payloads. */
export interface PayloadDemand {
  readonly filters: readonly {
    readonly filter: string;
    /** Counted from 1. */
    readonly line: number;
  }[];
  /** Any of these is good enough; empty where nothing is demanded. */
  readonly modes: readonly SealMode[];
  readonly maxAgeMs: number | undefined;
  /** As the file names it. */
  readonly macKeysFile: string | undefined;
  /** What that holds; without it the broker looks at the structure of MACs only. */
  readonly macKeys: MacKeys | undefined;
  /** It is encrypted to the server's own key, opened, and handed on in plain text or sealed for a group. */
  readonly deliver: "plain" | "sealed" | undefined;
  readonly groupKeysFile: string | undefined;
  readonly groupKeys: SealingKeys | undefined;
}

/** `lineOf` says where the filter with this index stands. */
export function compileDemand(
  { topics, require, maxAgeSeconds, macKeys, deliver, groupKeys }: GivenPayload,
  lineOf: (index: number) => number,
): PayloadDemand {
  return {
    filters: topics.map((filter, index) => ({ filter, line: lineOf(index) })),
    modes: [require].flat().filter((mode) => mode !== "none"),
    maxAgeMs: maxAgeSeconds === undefined ? undefined : maxAgeSeconds * 1_000,
    macKeysFile: macKeys,
    macKeys: undefined,
    deliver,
    groupKeysFile: groupKeys,
    groupKeys: undefined,
  };
}

/** The demand on a topic, with the filter that says so: the first that matches, as long as it demands anything. */
export function demandOn(
  demands: readonly PayloadDemand[],
  topic: string,
): { readonly demand: PayloadDemand; readonly filter: string; readonly line: number } | undefined {
  for (const demand of demands) {
    const found = demand.filters.find(({ filter }) => matchesFilter(filter, topic));
    if (found !== undefined) return demand.modes.length === 0 ? undefined : { demand, ...found };
  }
  return undefined;
}
