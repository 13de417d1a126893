import assert from "node:assert/strict";

import { World } from "../../src/testing/durability/world.ts";
import { workersOfTests } from "../../src/testing/open-broker.ts";
import { Random } from "../../src/testing/random.ts";
import { ControlledStore } from "./controlled-store.ts";
import { nextTurn, Stage } from "./stage.ts";

function openStage(store: ControlledStore): Promise<Stage<ControlledStore>> {
  store.hold();
  return Stage.open(store, { beforeClose: (last) => last.releaseAll() });
}

/** Traffic for some turns, with a disk that is now quick, now slow. */
async function live(stage: Stage<ControlledStore>, world: World, random: Random): Promise<void> {
  let slowness = random.between(1, 8);
  for (let turns = random.between(10, 120); turns > 0; turns -= 1) {
    for (let acts = 4; acts > 0; acts -= 1) world.act(stage.address);
    await nextTurn();
    if (random.below(slowness) === 0) stage.store.release(random.between(1, 6));
    if (random.chance(0.02)) slowness = random.between(1, 20);
    if (random.chance(0.02)) stage.clock.leap(random.below(400));
  }
}

export interface CrashReport {
  readonly messages: number;
  /** QoS 1 messages that came more than once, as they may. */
  readonly duplicates: number;
  /** What was lost, doubled or forgotten, one sentence each. */
  readonly problems: readonly string[];
}

/**
 * Has a broker crash `crashes` times under load, each time at another point between its commits, and go on with what
 * was on disk. The seed decides what is done, not in which order packets arrive.
 */
export async function runCrashes(seed: number, crashes: number): Promise<CrashReport> {
  const random = new Random(seed);
  const world = new World(random.branch(), { inOrder: workersOfTests === 1 });
  let stage = await openStage(new ControlledStore());
  stage.store.releaseAll();
  await world.begin(stage.address);
  stage.store.hold();
  for (let crash = 0; crash < crashes; crash += 1) {
    await live(stage, world, random);
    const { queueDropped } = stage.broker.snapshot().counters;
    assert.equal(queueDropped, 0, "more is asked for than the limits allow");
    // At this moment, between two turns, the broker is no more: what it had sent may still arrive or not.
    const survivor = stage.store.afterCrash();
    if (random.chance(0.5)) await nextTurn();
    world.cutAll();
    await stage[Symbol.asyncDispose]();
    stage = await openStage(survivor);
    await recover(stage, world);
  }
  stage.store.releaseAll();
  const problems = await world.settle(stage.address, () => stage.clock.leap(100));
  await stage[Symbol.asyncDispose]();
  return { messages: world.publishedCount, duplicates: world.duplicateCount, problems };
}

/** The clients come back while the disk works. */
async function recover(stage: Stage<ControlledStore>, world: World): Promise<void> {
  const writing = setInterval(() => stage.store.release(3), 1);
  try {
    await world.recover(stage.address);
  } finally {
    clearInterval(writing);
  }
}
