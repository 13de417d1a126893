import { LoadClient, type ClientOwner, unheard } from "./client.ts";
import type { Figures, RetainedLoad, Target } from "./job.ts";
import { indices, inTurns } from "./in-turns.ts";
import { Measured } from "./measured.ts";
import { memoryOf } from "./process-figures.ts";
import { publishForm } from "./packets.ts";

/** Who leaves them: as many, with as many on their way at a time, as publish for durable sessions. */
const publishers = 20;
const window = 200;
/** As many go out in one write. */
const perWrite = 50;

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

async function leave(target: Target, load: RetainedLoad): Promise<void> {
  await inTurns(indices(publishers), (publisher) => leaveShare(target, load, publisher));
}

/** Of each `publishers` messages one. */
async function leaveShare(
  target: Target,
  { version, messages, payloadBytes }: RetainedLoad,
  publisher: number,
): Promise<void> {
  const payload = Buffer.alloc(payloadBytes, "x");
  const acknowledged = new Counter();
  const owner: ClientOwner = { ...unheard, onAcknowledged: () => acknowledged.add() };
  const clientId = `bench-leave-${publisher}`;
  const client = await LoadClient.open(owner, { target, index: publisher, version, clientId });
  let sent = 0;
  let packets: Buffer[] = [];
  for (let index = publisher; index < messages; index += publishers) {
    const topic = `retained/${index % 100}/${index}`;
    const form = publishForm({ version, topic, qos: 1, retain: true, payload });
    form.bytes.writeUInt16BE((sent % 65_535) + 1, form.packetIdOffset);
    packets.push(form.bytes);
    sent += 1;
    if (packets.length < perWrite) continue;
    client.send(Buffer.concat(packets));
    packets = [];
    await acknowledged.reach(sent + perWrite - window);
  }
  client.send(Buffer.concat(packets));
  await acknowledged.reach(sent);
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
