import { MemorySessionStore } from "@postern/store/memory-session-store";

import { openBroker } from "../../src/testing/open-broker.ts";

/** A program of its own: a broker with two threads. */
await openBroker({ store: new MemorySessionStore(), workers: 2 }).listen();
