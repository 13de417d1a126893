import { LoadClient, type ClientOwner, unheard } from "./client.ts";
import type { Figures, RetainedLoad, Target } from "./job.ts";
import { indices } from "./in-turns.ts";
import { Measured } from "./measured.ts";
import { memoryOf } from "./process-figures.ts";
import { publishForm } from "./packets.ts";

/** Messages that are on their way to the server at a time. */
const window = 100;

/** Leaves retained messages; then counts what new subscribers get of them. */
export async function runRetained(target: Target, load: RetainedLoad): Promise<Figures> {
  const { version, messages, payloadBytes, seconds } = load;
  const before = memoryOf(target.pids);
  const leaving = new Measured(target.pids);
  leaving.start(0);
  await leave(target, load);
  const left = leaving.stop(messages);
  const bytesEach = (memoryOf(target.pids).anonymousBytes - before.anonymousBytes) / messages;

  const measured = new Measured(target.pids);
  const received = new Counter();
  const owner: ClientOwner = { ...unheard, onPublish: () => received.add() };
  measured.start(0);
  const endMs = performance.now() + seconds * 1_000;
  for (let subscriber = 1; subscriber === 1 || performance.now() < endMs; subscriber += 1) {
    const clientId = `bench-r-${subscriber}`;
    const client = await LoadClient.open(owner, { target, index: 0, version, clientId });
    const beganMs = performance.now();
    await client.subscribe(["retained/#"], 0);
    await received.reach(subscriber * messages);
    measured.latency.record((performance.now() - beganMs) * 1_000);
    await client.close(target.speaks);
  }
  const leaveMicroseconds = left.serverNanoseconds / 1_000 / messages;
  return { ...measured.stop(received.count), lost: 0, more: { bytesEach, leaveMicroseconds, payloadBytes } };
}

async function leave(target: Target, { version, messages, payloadBytes }: RetainedLoad): Promise<void> {
  const payload = Buffer.alloc(payloadBytes, "x");
  const acknowledged = new Counter();
  const owner: ClientOwner = { ...unheard, onAcknowledged: () => acknowledged.add() };
  const client = await LoadClient.open(owner, { target, index: 0, version, clientId: "bench-leave" });
  for (const index of indices(messages)) {
    const topic = `retained/${index % 100}/${index}`;
    const form = publishForm({ version, topic, qos: 1, retain: true, payload });
    form.bytes.writeUInt16BE((index % 65_535) + 1, form.packetIdOffset);
    client.send(form.bytes);
    await acknowledged.reach(index + 1 - window);
  }
  await acknowledged.reach(messages);
  await client.close(target.speaks);
}

/** Counts, and tells one who waits for it. */
class Counter {
  count = 0;
  #waiting: { readonly count: number; readonly resolve: () => void } | undefined;

  add(): void {
    this.count += 1;
    if (this.#waiting !== undefined && this.count >= this.#waiting.count) this.#waiting.resolve();
  }

  async reach(count: number): Promise<void> {
    if (this.count < count) await new Promise<void>((resolve) => (this.#waiting = { count, resolve }));
  }
}
