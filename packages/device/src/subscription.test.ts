import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Message } from "./message.ts";
import { Subscription } from "./subscription.ts";

describe("a subscription that nobody reads", () => {
  it("is done with each message that it drops, so that nothing of it is kept", async () => {
    let dropped = 0;
    const settled: number[] = [];
    const subscription = new Subscription({
      filter: "a",
      bufferMax: 2,
      onDropped: () => dropped++,
      onEnd: () => {},
    });
    for (let number = 0; number < 5; number++) {
      const message = new Message({
        topic: "a",
        payload: Buffer.of(number),
        qos: 0,
        retained: false,
        duplicate: false,
        properties: {},
        sealed: undefined,
      });
      subscription.offer(message, () => settled.push(number));
    }
    assert.equal(dropped, 3);
    assert.deepEqual(settled, [0, 1, 2]);
    assert.deepEqual((await subscription.next()).value?.payload, Buffer.of(3));
    await subscription.return();
    assert.deepEqual(settled, [0, 1, 2, 3, 4]);
  });
});
