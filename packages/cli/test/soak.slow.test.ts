import { describe, it } from "node:test";

import { megabytes, soak } from "./support/soak.ts";

describe("postern up with 5,000 clients, a third of which come and go", () => {
  it("comes to rest, in memory and in all it counts", async (t) => {
    await soak({
      clients: 5_000,
      cycles: 15,
      seed: Number(process.env["POSTERN_SOAK_SEED"] ?? 1),
      onCycle: (cycle, bytes) => t.diagnostic(`cycle ${cycle}: ${megabytes(bytes)} MB resident`),
    });
  });
});
