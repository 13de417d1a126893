import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";

import { collectStart } from "./collect-start.ts";

describe("what a start left behind", () => {
  for (const [title, isIdle, ends, collections] of [
    ["is given back once when nobody is there", true, false, 1],
    ["is left alone when clients are there", false, false, 0],
    ["is left alone when the server has ended by then", true, true, 0],
  ] as const) {
    it(title, () => {
      mock.timers.enable({ apis: ["setTimeout"] });
      try {
        const collect = mock.fn<NodeJS.GCFunction>();
        const collecting = collectStart(() => isIdle, collect);
        if (ends) collecting[Symbol.dispose]();
        mock.timers.tick(60_000);
        assert.equal(collect.mock.callCount(), collections);
      } finally {
        mock.timers.reset();
      }
    });
  }
});
