import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { whoseBytes } from "./support/whose-bytes.ts";

const seed = Number(process.env["POSTERN_WHOSE_BYTES_SEED"] ?? 7);

describe("the memory that the server uses again, for minutes", () => {
  for (const workers of [1, 2, 3])
    it(`shows nobody what another one sent, with ${workers} threads`, async (t) => {
      const { faults, received, bytes } = await whoseBytes({ seed: seed + workers, workers, seconds: 45 });
      t.diagnostic(`${received} messages and ${bytes} bytes were looked at`);
      assert.deepEqual(faults.slice(0, 5), []);
      assert.ok(received > 0);
    });
});
