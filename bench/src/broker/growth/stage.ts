import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import type { Generator } from "../load/generator.ts";
import type { MessageLoad, Target } from "../load/job.ts";
import { memoryOf } from "../load/process-figures.ts";
import { rest } from "../load/rest.ts";
import { Postern, type PosternOptions } from "../peers/postern.ts";
import { median } from "../report/summary.ts";
import { pairs } from "../scenarios.ts";

/** Each is a load of its own: a moment in which the machine did something else does not count. */
const messageRounds = 5;
const firstRound = { warmSeconds: 1, seconds: 1 } as const;
const furtherRound = { warmSeconds: 0.2, seconds: 0.6 } as const;
/** What else the server has to do at the moment, such as to collect garbage, is shared by so many. */
const messagesMin = 300_000;
const restartRounds = 3;
const sayEveryMs = 20_000;

/** What it takes a server to be there again. */
interface Start {
  readonly nanoseconds: number;
  readonly seconds: number;
  readonly ownBytes: number;
  readonly peakBytes: number;
}

/** Where a point is measured: a directory of its own, the load generator, and a voice for whoever waits. */
export class Stage implements Disposable {
  readonly generator: Generator;
  readonly #root: string;
  readonly #say: (text: string) => void;
  readonly #voice: NodeJS.Timeout;
  #phase = "";
  #phaseMs = 0;
  #directories = 0;
  #emptyStart: Promise<Start> | undefined;

  /** Directories are made beneath `root`. */
  constructor(parts: {
    readonly generator: Generator;
    readonly root: string;
    readonly say: (text: string) => void;
  }) {
    this.generator = parts.generator;
    this.#root = parts.root;
    this.#say = parts.say;
    this.#voice = setInterval(() => {
      if (this.#phase !== "")
        this.#say(`${this.#phase}, ${Math.round((performance.now() - this.#phaseMs) / 1_000)} s`);
    }, sayEveryMs).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#voice);
  }

  /** What is done from now on is named so when it takes long. */
  phase(text: string): void {
    this.#phase = text;
    this.#phaseMs = performance.now();
  }

  /** Hands out a new directory, which is gone afterwards. */
  async within<T>(act: (directory: string) => Promise<T>): Promise<T> {
    this.#directories += 1;
    const directory = join(this.#root, String(this.#directories));
    mkdirSync(directory);
    try {
      return await act(directory);
    } finally {
      this.phase("");
      rmSync(directory, { recursive: true, force: true });
    }
  }

  /** Microseconds of the server for a message between 20 pairs: the median of some rounds. */
  async messageCost(target: Target): Promise<number> {
    this.phase("messages beside it");
    const costs: number[] = [];
    for (let round = 0; round < messageRounds; round += 1) {
      const load = messageLoad(round);
      const { serverNanoseconds, count } = await this.generator.run({ kind: "messages", target, load });
      costs.push(serverNanoseconds / 1_000 / count);
    }
    return median(costs) ?? 0;
  }

  /** Stops the server, starts it again on what it has, and says what each of `count` things adds to that. */
  async restartCost(
    server: Postern,
    options: PosternOptions,
    count: number,
  ): Promise<Readonly<Record<string, number>>> {
    const empty = await this.emptyStart();
    this.phase("the end of the server");
    await server[Symbol.asyncDispose]();
    this.phase("its start");
    const { nanoseconds, seconds, peakBytes, ownBytes } = await startAgain(options);
    return {
      restartMicrosecondsEach: (nanoseconds - empty.nanoseconds) / 1_000 / count,
      restartSeconds: seconds,
      restartBytesEach: (ownBytes - empty.ownBytes) / count,
      restartPeakBytes: peakBytes,
    };
  }

  /** What it takes a server that holds nothing, at its second start: measured once. */
  emptyStart(): Promise<Start> {
    this.#emptyStart ??= this.#startEmpty();
    return this.#emptyStart;
  }

  #startEmpty(): Promise<Start> {
    this.phase("starts of a server that holds nothing, for comparison");
    return this.within(async (directory) => {
      const first = await Postern.start({ directory });
      await first[Symbol.asyncDispose]();
      const starts: Start[] = [];
      for (let round = 0; round < restartRounds; round += 1) starts.push(await startAgain({ directory }));
      const of = (figure: (start: Start) => number): number => median(starts.map(figure)) ?? 0;
      return {
        nanoseconds: of(({ nanoseconds }) => nanoseconds),
        seconds: of(({ seconds }) => seconds),
        ownBytes: of(({ ownBytes }) => ownBytes),
        peakBytes: of(({ peakBytes }) => peakBytes),
      };
    });
  }
}

/** What so many messages are measured with in one of the rounds. */
export function messageLoad(round: number): MessageLoad {
  return { ...pairs, ...(round === 0 ? firstRound : furtherRound), messagesMin };
}

async function startAgain(options: PosternOptions): Promise<Start> {
  const startedMs = performance.now();
  await using server = await Postern.start(options);
  const seconds = (performance.now() - startedMs) / 1_000;
  await rest(server.pids);
  const { anonymousBytes, peakBytes } = memoryOf(server.pids);
  return { nanoseconds: server.startNanoseconds, seconds, ownBytes: anonymousBytes, peakBytes };
}
