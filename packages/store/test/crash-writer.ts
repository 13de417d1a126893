import { writeSync } from "node:fs";

import { openLmdbSessionStore } from "../src/open-lmdb-session-store.ts";
import { entry, message, session } from "../src/testing/fixtures.ts";
import { GROUPS_KEPT, groupSize, MARKER, SESSIONS, topicOf } from "./crash-groups.ts";

/*
 * Writes group after group until it is killed, and prints the number of each one that is done. Group n adds its
 * messages to every session, takes those of group n - GROUPS_KEPT away, and says n in a retained message.
 */

async function main(directory: string): Promise<void> {
  const store = await openLmdbSessionStore({ directory });
  const marker = [...store.loadRetained()].find(({ topic }) => topic === MARKER);
  let group = marker === undefined ? 0 : Number(Buffer.from(marker.payload).toString());
  let position = [...store.loadSessions()].find(({ number }) => number === 1)?.nextPosition ?? 1;
  if (group === 0) for (const number of SESSIONS) store.putSession(number, session());

  const next = (): void => {
    group += 1;
    const written = group;
    for (let index = 0; index < groupSize(group); index += 1) {
      const body = message(topicOf(group, index), Buffer.alloc(index % 5 === 0 ? 3000 : 50, index));
      const messageNumber = store.addMessage(body);
      for (const number of SESSIONS) store.enqueue(number, entry(position, messageNumber));
      position += 1;
    }
    dequeueOld(store, group - GROUPS_KEPT);
    store.putRetained(message(MARKER, Buffer.from(String(group))));
    store.commit((error) => {
      if (error !== undefined) throw error;
      writeSync(1, `${written}\n`);
      setImmediate(next);
    });
  };
  // Two chains: one group is asked for while another is being written.
  next();
  next();
}

type Store = Awaited<ReturnType<typeof openLmdbSessionStore>>;

function dequeueOld(store: Store, group: number): void {
  for (const number of SESSIONS) {
    const old = store.readQueue(number, { fromPosition: 0, countMax: groupSize(group), bytesMax: Infinity });
    for (const { position, message: body } of old) {
      if (body !== null && body.topic.startsWith(`${group}/`)) store.dequeue(number, position);
    }
  }
}

await main(process.argv[2] ?? "");
