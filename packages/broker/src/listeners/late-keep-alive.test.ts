import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Socket } from "node:net";
import { describe, it } from "node:test";

import { socketPair } from "../testing/socket-pair.ts";
import { TimerWheel } from "../timer-wheel.ts";
import { LateKeepAlive } from "./late-keep-alive.ts";

function setUp() {
  const clock = { ms: 1_000_000, wallMs: () => clock.ms, monotonicMs: () => clock.ms };
  const wheel = new TimerWheel(clock, false);
  const pass = (ms: number): void => {
    for (const end = clock.ms + ms; clock.ms < end; wheel.advance()) clock.ms += 100;
  };
  return { keepAlive: new LateKeepAlive(wheel), pass };
}

function portOf(port = 0): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}

/** Whether the kernel asks after the peer of a socket: the kind of its timer is 2. @see proc_net_tcp in the kernel's documentation */
function isAskedAfter(socket: Socket): boolean {
  const own = `:${portOf(socket.localPort)}`;
  const other = `:${portOf(socket.remotePort)}`;
  const fields = readFileSync("/proc/net/tcp", "latin1")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .find(([, local, remote]) => local?.endsWith(own) === true && remote?.endsWith(other) === true);
  assert.ok(fields, "the socket is not in /proc/net/tcp");
  return fields[5]?.startsWith("02:") === true;
}

describe("LateKeepAlive", () => {
  it("has the kernel ask after the peers of connections that last", async () => {
    using stack = new DisposableStack();
    const { ours } = await socketPair(stack);
    const { keepAlive, pass } = setUp();
    keepAlive.add(ours);
    pass(4_000);
    assert.ok(!isAskedAfter(ours));
    pass(2_000);
    assert.ok(isAskedAfter(ours));
  });

  it("lets be what has ended, and what came while it waited for others", async () => {
    using stack = new DisposableStack();
    const { ours: ended } = await socketPair(stack);
    const { ours: late } = await socketPair(stack);
    const { keepAlive, pass } = setUp();
    keepAlive.add(ended);
    pass(3_000);
    keepAlive.add(late);
    keepAlive.delete(ended);
    pass(4_000);
    assert.ok(!isAskedAfter(ended));
    assert.ok(!isAskedAfter(late));
    pass(2_000);
    assert.ok(isAskedAfter(late));
  });

  it("does a few at a time, and all of them within seconds", async () => {
    const asked = new Set<number>();
    const { keepAlive, pass } = setUp();
    const count = 20_000;
    for (let number = 0; number < count; number += 1)
      keepAlive.add({
        setKeepAlive() {
          asked.add(number);
          return new Socket();
        },
      });
    pass(5_200);
    assert.ok(asked.size > 0 && asked.size <= count / 10, `${asked.size} at once`);
    pass(60_000);
    assert.equal(asked.size, count);
  });
});
