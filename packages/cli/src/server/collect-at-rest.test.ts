import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";

import { CollectAtRest } from "./collect-at-rest.ts";

/** Runs `act` with a server that is looked at when `look` is called; `collections` counts. */
function watched(
  act: (server: {
    readonly rest: { connectionCount: number; bytes: number };
    readonly watch: CollectAtRest;
    readonly look: () => void;
    readonly collections: () => number;
  }) => void,
): void {
  mock.timers.enable({ apis: ["setInterval"] });
  try {
    const collect = mock.fn<NodeJS.GCFunction>();
    const rest = {
      connectionCount: 0,
      bytes: 0,
      counters: () => ({ bytesReceived: rest.bytes, connectionsAccepted: 0 }),
    };
    using watch = new CollectAtRest(rest, collect);
    act({
      rest,
      watch,
      look: () => mock.timers.tick(500),
      collections: () => collect.mock.callCount(),
    });
  } finally {
    mock.timers.reset();
  }
}

describe("what a start and many new connections leave behind", () => {
  it("is given back once when the server has started and nothing comes", () => {
    watched(({ look, collections }) => {
      look();
      look();
      assert.equal(collections(), 0);
      for (let looks = 0; looks < 10; looks += 1) look();
      assert.equal(collections(), 1);
    });
  });

  it("is left alone while something comes", () => {
    watched(({ rest, look, collections }) => {
      for (let looks = 0; looks < 10; looks += 1) {
        rest.bytes += 1;
        look();
      }
      look();
      rest.bytes += 1;
      look();
      look();
      assert.equal(collections(), 0);
      look();
      assert.equal(collections(), 1);
    });
  });

  it("is left alone when the server has ended", () => {
    watched(({ watch, look, collections }) => {
      watch[Symbol.dispose]();
      for (let looks = 0; looks < 10; looks += 1) look();
      assert.equal(collections(), 0);
    });
  });

  for (const [title, came, collectionsMore] of [
    ["is given back when many have come and nothing comes any more", 300, 1],
    ["is left alone when few have come", 100, 0],
  ] as const)
    it(title, () => {
      watched(({ rest, look, collections }) => {
        for (let looks = 0; looks < 3; looks += 1) look();
        const before = collections();
        rest.connectionCount += came;
        rest.bytes += came;
        look();
        assert.equal(collections(), before);
        for (let looks = 0; looks < 10; looks += 1) look();
        assert.equal(collections(), before + collectionsMore);
      });
    });

  it("is left alone when they have gone again", () => {
    watched(({ rest, look, collections }) => {
      for (let looks = 0; looks < 3; looks += 1) look();
      const before = collections();
      for (let rounds = 0; rounds < 5; rounds += 1) {
        rest.connectionCount = 300;
        rest.bytes += 1;
        look();
        rest.connectionCount = 0;
        look();
        look();
      }
      assert.equal(collections(), before);
    });
  });

  it("is given back again when as many come after they have gone", () => {
    watched(({ rest, look, collections }) => {
      for (const connectionCount of [0, 300, 0, 300]) {
        rest.connectionCount = connectionCount;
        rest.bytes += 1;
        for (let looks = 0; looks < 3; looks += 1) look();
      }
      assert.equal(collections(), 3);
    });
  });
});
