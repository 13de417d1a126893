import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { whoseBytes } from "./support/whose-bytes.ts";

describe("the memory that the server uses again", () => {
  for (const workers of [1, 2])
    it(`shows nobody what another one sent, with ${workers === 1 ? "one thread" : "two threads"}`, async (t) => {
      const { faults, received, bytes } = await whoseBytes({ seed: workers, workers, seconds: 1 });
      t.diagnostic(`${received} messages and ${bytes} bytes were looked at`);
      assert.deepEqual(faults.slice(0, 5), []);
      assert.ok(received > 0);
    });
});
