import { setTimeout as delay } from "node:timers/promises";

import { LoadClient, unheard } from "./client.ts";
import type { Figures, IdleLoad, MessageLoad, Target } from "./job.ts";
import { indices, inTurns } from "./in-turns.ts";
import { Measured } from "./measured.ts";
import { MessageRun } from "./messages.ts";
import { memoryOf } from "./process-figures.ts";
import { rest } from "./rest.ts";
import { median } from "../report/summary.ts";

const filtersPerSubscribe = 500;

/** Of each server, by its first process: the bytes it had before anybody came. */
const bytesBefore = new Map<number, number>();

/** Connects clients, leaves them alone, and looks at the server's memory. Counted are clients. */
export async function runIdle(target: Target, load: IdleLoad): Promise<Figures> {
  const { version, clients: count, filtersEach, restSeconds, durable, beside } = load;
  const measured = new Measured(target.pids);
  const clients: LoadClient[] = [];
  const before = await bytesBeforeAnybody(target.pids);
  measured.start(0);
  try {
    await inTurns(indices(count), async (index) => {
      const client = await LoadClient.open(unheard, {
        target,
        index,
        version,
        clientId: `bench-i-${index}`,
        clean: !durable,
      });
      clients.push(client);
      const filters = [
        `idle/${index}`,
        ...indices(filtersEach).map((number) => `idle/${index}/${number % 10}/${number}/+`),
      ];
      for (let at = 0; at < filters.length; at += filtersPerSubscribe)
        await client.subscribe(filters.slice(at, at + filtersPerSubscribe), durable ? 1 : 0);
    });
    const figures = measured.stop(count);
    await delay(restSeconds * 1_000);
    const after = memoryOf(target.pids);
    const bytesEach = (after.anonymousBytes - before) / count;
    const costs: number[] = [];
    for (const one of beside) costs.push(await messageCost(target, one));
    const messageMicroseconds = median(costs);
    const more = { bytesEach, ...(messageMicroseconds === undefined ? {} : { messageMicroseconds }) };
    return { ...figures, residentBytes: after.residentBytes, lost: 0, more };
  } finally {
    await inTurns(clients, (client) => client.close(target.speaks));
  }
}

async function bytesBeforeAnybody(pids: readonly number[]): Promise<number> {
  const [server = 0] = pids;
  const known = bytesBefore.get(server);
  if (known !== undefined) return known;
  await rest(pids);
  const { anonymousBytes } = memoryOf(pids);
  bytesBefore.set(server, anonymousBytes);
  return anonymousBytes;
}

async function messageCost(target: Target, load: MessageLoad): Promise<number> {
  const { serverNanoseconds, count } = await new MessageRun(target, load).run();
  return serverNanoseconds / 1_000 / count;
}
