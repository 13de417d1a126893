import { openLmdbUnderTest } from "./testing/lmdb-under-test.ts";
import { sessionStoreSuite } from "./testing/session-store-suite.ts";

const propertyRuns = Number(process.env["POSTERN_PROPERTY_RUNS"] ?? 5);

sessionStoreSuite("LmdbSessionStore", { open: () => openLmdbUnderTest(), propertyRuns });
