import { LoadClient, unheard } from "./client.ts";
import type { ConnectionLoad, Figures, Target } from "./job.ts";
import { indices } from "./in-turns.ts";
import { Measured } from "./measured.ts";

/** Connects as fast as the server lets in. Latency is the time from the first packet of TCP to CONNACK. */
export async function runConnections(target: Target, load: ConnectionLoad): Promise<Figures> {
  const measured = new Measured(target.pids);
  let count = 0;
  let resumed = 0;
  const state = { running: true };
  const worker = async (index: number): Promise<void> => {
    let session: Buffer | undefined;
    while (state.running) {
      const beganMs = performance.now();
      const client = await LoadClient.open(unheard, {
        target,
        index,
        version: load.version,
        clientId: `bench-c-${index}`,
        ...(load.resume ? { resumption: { session, onSession: (given: Buffer) => (session = given) } } : {}),
      });
      if (client.resumed) resumed += 1;
      if (measured.running) measured.latency.record((performance.now() - beganMs) * 1_000);
      await client.close(target.speaks);
      count += 1;
    }
  };
  const workers = Promise.all(indices(load.atOnce).map(worker));
  try {
    await Promise.race([workers, pause(load.warmSeconds)]);
    measured.start(count);
    const resumedBefore = resumed;
    const before = count;
    await Promise.race([workers, pause(load.seconds)]);
    const figures = measured.stop(count);
    const resumedShare = (resumed - resumedBefore) / Math.max(1, count - before);
    return { ...figures, lost: 0, more: { resumedShare } };
  } finally {
    state.running = false;
    await workers;
  }
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
}
