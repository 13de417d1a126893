import { setTimeout as delay } from "node:timers/promises";

import { LoadClient, type ClientOwner, unheard } from "./client.ts";
import type { Figures, OfflineLoad, Target } from "./job.ts";
import { indices, inTurns } from "./in-turns.ts";
import { Measured } from "./measured.ts";
import { publishForm } from "./packets.ts";
import { memoryOf } from "./process-figures.ts";
import { Publisher } from "./publisher.ts";

/** What does not come in this time is lost. */
const lostAfterMs = 5_000;

/** Publishes to sessions whose clients are away. Counted are acknowledged messages: those must all be there when the clients come back. */
export class OfflineRun implements ClientOwner {
  readonly #target: Target;
  readonly #load: OfflineLoad;
  readonly #publishers: Publisher[] = [];
  #queue: LoadClient[] = [];
  #publishing = false;
  #sent = 0;
  #acknowledged = 0;
  #received = 0;

  constructor(target: Target, load: OfflineLoad) {
    this.#target = target;
    this.#load = load;
  }

  onPublish(): void {
    this.#received += 1;
  }

  onAcknowledged(client: LoadClient): void {
    client.unacknowledged -= 1;
    this.#acknowledged += 1;
    this.onOutput(client);
  }

  onOutput(client: LoadClient): void {
    if (client.queued) return;
    client.queued = true;
    this.#queue.push(client);
    if (this.#queue.length === 1) setImmediate(() => this.#endTurn());
  }

  async run(): Promise<Figures> {
    const { publishers, subscribers, version, payloadBytes, window, seconds, messagesMax } = this.#load;
    await this.#withSubscribers(false, (client, index) => client.subscribe([`offline/${index}`], 1));
    const before = memoryOf(this.#target.pids);
    await inTurns(indices(publishers), async (index) => {
      const client = await this.#open("p", index, true);
      const topic = `offline/${index % subscribers}`;
      const form = publishForm({ version, topic, qos: 1, payload: Buffer.alloc(payloadBytes, "x") });
      this.#publishers[index] = new Publisher(client, form, window);
    });
    const measured = new Measured(this.#target.pids);
    measured.start(0);
    this.#publishing = true;
    for (const { client } of this.#publishers) this.onOutput(client);
    const endMs = performance.now() + seconds * 1_000;
    const most = messagesMax === 0 ? Infinity : messagesMax;
    while (performance.now() < endMs) {
      if (this.#acknowledged >= most) break;
      await delay(5);
    }
    const figures = measured.stop(this.#acknowledged);
    this.#publishing = false;
    while (this.#publishers.some(({ client }) => client.unacknowledged > 0)) await delay(10);
    const bytesEach = (memoryOf(this.#target.pids).anonymousBytes - before.anonymousBytes) / this.#sent;
    await inTurns(this.#publishers, ({ client }) => client.close(this.#target.speaks));
    if (this.#load.stay) return { ...figures, lost: 0, more: { bytesEach } };
    const drained = new Measured(this.#target.pids);
    drained.start(0);
    await this.#drain();
    const back = drained.stop(this.#received);
    await this.#withSubscribers(true, async () => {});
    return {
      ...figures,
      lost: this.#sent - this.#received,
      more: {
        bytesEach,
        drainedPerSecond: back.count / back.seconds,
        drainMicroseconds: back.serverNanoseconds / 1_000 / Math.max(1, back.count),
      },
    };
  }

  #open(role: string, index: number, clean: boolean): Promise<LoadClient> {
    return LoadClient.open(role === "p" ? this : this.#receiver, {
      target: this.#target,
      index,
      version: this.#load.version,
      clientId: `bench-off-${role}-${index}`,
      clean,
    });
  }

  readonly #receiver: ClientOwner = { ...unheard, onPublish: () => this.onPublish() };

  async #withSubscribers(
    clean: boolean,
    act: (client: LoadClient, index: number) => Promise<void>,
  ): Promise<void> {
    await inTurns(indices(this.#load.subscribers), async (index) => {
      const client = await this.#open("s", index, clean);
      await act(client, index);
      await client.close(this.#target.speaks);
    });
  }

  async #drain(): Promise<void> {
    const clients: LoadClient[] = [];
    await inTurns(indices(this.#load.subscribers), async (index) => {
      clients.push(await this.#open("s", index, false));
    });
    for (let last = -1, lastMs = performance.now(); this.#received < this.#sent;) {
      if (this.#received !== last) lastMs = performance.now();
      last = this.#received;
      if (performance.now() - lastMs > lostAfterMs) break;
      await delay(5);
    }
    // The last acknowledgements are on their way.
    await delay(50);
    await inTurns(clients, (client) => client.close(this.#target.speaks));
  }

  #endTurn(): void {
    const queue = this.#queue;
    this.#queue = [];
    const nowMs = performance.now();
    for (const client of queue) {
      client.queued = false;
      const publisher = this.#publishers[client.index];
      if (publisher === undefined || !this.#publishing) continue;
      const count = publisher.send(this.#load.window - client.unacknowledged, nowMs);
      client.unacknowledged += count;
      this.#sent += count;
    }
  }
}
