import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { runKills } from "./support/kill-run.ts";

const kills = 60;

describe(`kill -9 under load, ${kills} times`, () => {
  for (const seed of [1, 2]) {
    it(`of the server: nothing acknowledged is lost, nothing comes twice at QoS 2 (seed ${seed})`, async (t) => {
      const { messages, duplicates, restartMs, problems } = await runKills("server", { seed, kills });
      t.diagnostic(`${messages} messages, ${duplicates} came again at QoS 1, ${restartMs} ms to restart`);
      assert.deepEqual(problems, []);
    });
  }

  it("of all clients: they find everything as they left it", async (t) => {
    const { messages, duplicates, problems } = await runKills("clients", { seed: 3, kills });
    t.diagnostic(`${messages} messages, ${duplicates} came again at QoS 1`);
    assert.deepEqual(problems, []);
  });
});
