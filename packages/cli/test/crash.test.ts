import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { runKills } from "./support/kill-run.ts";

const seed = 5;

describe("kill -9 under load (the short run; the slow tests kill more often)", () => {
  it("of the server: nothing acknowledged is lost, nothing comes twice at QoS 2, sessions and wills are kept", async (t) => {
    const { messages, duplicates, restartMs, problems } = await runKills("server", { seed, kills: 4 });
    t.diagnostic(`${messages} messages, ${duplicates} came again at QoS 1, ${restartMs} ms to restart`);
    assert.deepEqual(problems, []);
    assert.ok(messages > 100, "there was hardly any load");
  });

  it("of all clients: they find everything as they left it", async (t) => {
    const { messages, duplicates, problems } = await runKills("clients", { seed, kills: 10 });
    t.diagnostic(`${messages} messages, ${duplicates} came again at QoS 1`);
    assert.deepEqual(problems, []);
    assert.ok(messages > 100, "there was hardly any load");
  });
});
