import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";

import { passWithTwoThreads } from "./support/pass-with-two-threads.ts";

describe("the conformance suite", () => {
  it("passes as a whole with two threads", async () => {
    const files = readdirSync(join(import.meta.dirname, "conformance")).map((file) =>
      join("conformance", file),
    );
    await passWithTwoThreads([
      ...files,
      "hostile-inputs.test.ts",
      "slow-readers.test.ts",
      "websocket-memory.test.ts",
      "half-open-websockets.test.ts",
    ]);
  });
});
