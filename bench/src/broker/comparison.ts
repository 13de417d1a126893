import { errorText } from "@postern/core/errors";

import type { Generator } from "./load/generator.ts";
import type { Figures, Job } from "./load/job.ts";
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
  /** Starts the peer of this name once more, beside the one that runs. */
  readonly startAnew: (name: string) => Promise<Peer>;
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
    // A round before the first is not counted: what the runtime compiles, and what memory the server asks for, it has then.
    for (let round = scenario.fresh ? 0 : -1; round < rounds; round += 1) {
      for (const peer of rotated(some, round + 1)) {
        options.onStep({
          done,
          all,
          text: `${scenario.name}, ${peer.name}, round ${round + 1} of ${rounds}`,
        });
        done += 1;
        if (round >= 0) done += 1;
        if (given.has(peer.name)) continue;
        try {
          const found = await measure(scenario, peer, options);
          if (round >= 0) figures.get(peer.name)?.push(found);
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

async function measure(scenario: Scenario, peer: Peer, options: ComparisonOptions): Promise<Figures> {
  if (!scenario.fresh) return options.generator.run(jobOf(scenario, peer, options));
  await using fresh = await options.startAnew(peer.name);
  return await options.generator.run(jobOf(scenario, fresh, options));
}

function jobOf(scenario: Scenario, peer: Peer, { warmSeconds, seconds }: ComparisonOptions): Job {
  const target = targetOf(scenario, peer);
  if (target === undefined) throw new Error(`${peer.name} does not offer it`);
  const { job } = scenario;
  switch (job.kind) {
    case "messages":
      return { kind: job.kind, target, load: { ...job.load, warmSeconds, seconds } };
    case "connections":
      return { kind: job.kind, target, load: { ...job.load, warmSeconds, seconds } };
    case "idle":
      return { kind: job.kind, target, load: job.load };
    case "retained":
      return { kind: job.kind, target, load: { ...job.load, seconds } };
    case "offline":
      return { kind: job.kind, target, load: { ...job.load, seconds } };
  }
}

function targetOf({ job, transport, shared, resumption }: Scenario, peer: Peer) {
  const qos =
    job.kind === "messages" ? job.load.qos : job.kind === "connections" || job.kind === "idle" ? 0 : 1;
  const target = peer.targetFor({ transport, version: job.load.version, qos, shared, resumption });
  if (target?.speaks !== "relay" || job.kind === "messages") return target;
  // It answers CONNECT and SUBSCRIBE, and no more.
  return job.kind === "connections" || job.kind === "idle"
    ? { ...target, speaks: "mqtt" as const }
    : undefined;
}

function rotated<T>(items: readonly T[], by: number): T[] {
  const at = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}
