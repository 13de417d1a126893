import { describe, it } from "node:test";

import { megabytes, soak } from "./support/soak.ts";

describe("postern up with many clients that come and go", () => {
  it("comes to rest, in memory and in all it counts (soak.slow.test.ts has 5,000 clients)", async (t) => {
    const resident: number[] = [];
    await soak({
      clients: 150,
      cycles: 6,
      seed: 1,
      onCycle: (_cycle, bytes) => resident.push(megabytes(bytes)),
    });
    t.diagnostic(`resident memory after each cycle: ${resident.join(", ")} MB`);
  });
});
