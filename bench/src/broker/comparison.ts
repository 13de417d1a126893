import { errorText } from "@postern/core/errors";

import type { Generator } from "./load/generator.ts";
import type { Figures } from "./load/job.ts";
import type { Peer } from "./peers/peer.ts";
import type { Scenario } from "./scenarios.ts";

/** The rounds of one scenario with one peer. */
export interface Result {
  readonly scenario: Scenario;
  readonly peer: string;
  readonly rounds: readonly Figures[];
}

export interface ComparisonOptions {
  readonly scenarios: readonly Scenario[];
  readonly peers: readonly Peer[];
  readonly generator: Generator;
  readonly rounds: number;
  readonly warmSeconds: number;
  readonly seconds: number;
  /** Told before each measurement, and what came of a scenario when it is done. */
  readonly onStep: (step: { readonly done: number; readonly all: number; readonly text: string }) => void;
  readonly onScenario: (scenario: Scenario, results: readonly Result[]) => void;
  /** Told what could not be measured, and why. */
  readonly onProblem: (problem: string) => void;
}

/** Measures all scenarios: the peers one after the other in each round, each round with another first. */
export async function compare(options: ComparisonOptions): Promise<Result[]> {
  const { scenarios, peers, rounds } = options;
  const able = scenarios.map((scenario) => ({
    scenario,
    peers: peers.filter((peer) => targetOf(scenario, peer) !== undefined),
  }));
  const all = able.reduce((sum, { peers: some }) => sum + some.length * rounds, 0);
  const results: Result[] = [];
  let done = 0;
  for (const { scenario, peers: some } of able) {
    const figures = new Map<string, Figures[]>(some.map(({ name }) => [name, []]));
    const given = new Set<string>();
    for (let round = 0; round < rounds; round += 1) {
      for (const peer of rotated(some, round)) {
        options.onStep({
          done,
          all,
          text: `${scenario.name}, ${peer.name}, round ${round + 1} of ${rounds}`,
        });
        done += 1;
        if (given.has(peer.name)) continue;
        try {
          figures.get(peer.name)?.push(await measure(scenario, peer, options));
        } catch (error) {
          given.add(peer.name);
          options.onProblem(`${scenario.name} cannot be measured with ${peer.name}: ${errorText(error)}`);
        }
      }
    }
    const found = some.map(({ name }) => ({ scenario, peer: name, rounds: figures.get(name) ?? [] }));
    const whole = found.filter((result) => result.rounds.length === rounds);
    results.push(...whole);
    options.onScenario(scenario, whole);
  }
  return results;
}

function measure(scenario: Scenario, peer: Peer, options: ComparisonOptions): Promise<Figures> {
  const target = targetOf(scenario, peer);
  if (target === undefined) throw new Error(`${peer.name} does not offer it`);
  const { warmSeconds, seconds } = options;
  return options.generator.run({
    kind: "messages",
    target,
    load: { ...scenario.load, warmSeconds, seconds },
  });
}

function targetOf({ load, transport, relay }: Scenario, peer: Peer) {
  const target = peer.targetFor({ transport, version: load.version, qos: load.qos });
  return target?.speaks === "relay" && !relay ? undefined : target;
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const at = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}
