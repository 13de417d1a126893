import { after } from "node:test";

import { MemorySessionStore } from "@postern/store/memory-session-store";

import { connectPacket, HandClient } from "../../src/testing/hand-client.ts";
import { openBroker, type OpenBroker, type OpenBrokerOptions } from "../../src/testing/open-broker.ts";

/** What is done after the tests of this file, the last first. */
export const closing: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const close of closing.toReversed()) await close();
});

/** A broker with two threads, closed after the tests. */
export function start(options: Partial<OpenBrokerOptions> = {}): OpenBroker {
  const opened = openBroker({ store: new MemorySessionStore(), workers: 2, ...options });
  closing.push(() => opened.broker.close());
  return opened;
}

/** A client that is connected, and gone after the tests. */
export async function client(port: number, clientId: string, version: 4 | 5 = 5): Promise<HandClient> {
  const hand = await HandClient.connected({ host: "127.0.0.1", port }, connectPacket(clientId, version));
  closing.push(() => hand[Symbol.asyncDispose]());
  return hand;
}
