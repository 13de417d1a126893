import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { threadsOf } from "./threads.ts";

describe("the threads that connections are spread over", () => {
  it("are by default as many as there are cores less one, at least one and at most 16", () => {
    const counts = [1, 2, 3, 4, 8, 64].map(
      (cores) => threadsOf("auto", { cores, platform: "linux" }).workers,
    );
    assert.deepEqual(counts, [1, 1, 2, 3, 7, 16]);
    assert.equal(threadsOf("auto").workersWhenBusy, true);
  });

  it("are one by default where the system does not spread connections", () => {
    assert.equal(threadsOf("auto", { cores: 8, platform: "darwin" }).workers, 1);
  });

  it("are as many as somebody asks for, at once", () => {
    assert.deepEqual(threadsOf(3, { cores: 2 }), { workers: 3, workersWhenBusy: false });
  });
});
