import assert from "node:assert/strict";
import { chmodSync, cpSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";
import { clocklessEpoch } from "@postern/knock/spa1/keys";

import {
  childOf,
  clientAddress,
  dialFrom,
  hiddenServer,
  ip,
  packetOf,
  sendFrom,
  strangerAddress,
  type HiddenServer,
} from "../support/hidden-server.ts";
import { preloaded, scratch } from "../support/postern.ts";

const refused = await hostsRefused();

/** Sends what must not open: waits until the gate has refused them all for this reason, and looks that nothing is open. */
async function assertRefused(
  test: HiddenServer,
  reason: string,
  packets: readonly Uint8Array[],
  from = test.client,
): Promise<void> {
  const before = await test.status();
  assert.equal(await sendFrom(from, packets), "", "a knock is never answered");
  const wanted = (before.counters[reason] ?? 0) + packets.length;
  const after = await test.until(({ counters }) => (counters[reason] ?? 0) >= wanted);
  assert.equal(after.counters[reason], wanted);
  assert.equal(after.windowCount, 0);
  await test.ask({ kind: "lift", source: null });
}

describe("attack 13 to 18: knocks", refused === undefined ? {} : { skip: refused }, () => {
  it("attack 13: a replayed packet opens nothing: same address, another, after a restart of the gate", async () => {
    await using test = await hiddenServer({ gate: ["windowSeconds: 2"] });
    const packet = packetOf(test.bundle);
    assert.equal(await dialFrom(test.client), "silence");
    assert.equal(await sendFrom(test.client, [packet]), "");
    await test.until(({ windowCount }) => windowCount === 1);
    assert.equal(await dialFrom(test.client), "open");
    assert.equal(await dialFrom(test.stranger), "silence");
    await test.until(({ windowCount }) => windowCount === 0);
    assert.equal(await dialFrom(test.client), "silence");
    await assertRefused(test, "replayed", [packet]);
    await assertRefused(test, "replayed", [packet], test.stranger);
    process.kill(childOf(test.server.child.pid ?? 0, "gate"), "SIGKILL");
    await test.until(({ broker, devices, ready, startedAtMs }) => {
      return broker !== null && devices === 1 && ready && Date.now() - startedAtMs < 20_000;
    });
    await assertRefused(test, "replayed", [packet]);
    assert.equal(await dialFrom(test.client), "silence");
    // The device itself goes on.
    assert.equal(await sendFrom(test.client, [packetOf(test.bundle)]), "");
    await test.until(({ windowCount }) => windowCount === 1);
  });

  it("attack 13: a replayed packet opens nothing after the gate's clock was set back or forward either", async () => {
    using directory = scratch();
    const clock = join(directory.path, "clock");
    writeFileSync(clock, "0");
    await using test = await hiddenServer({
      env: preloaded("./preload-stepped-clock.ts", { TEST_CLOCK_FILE: clock }),
    });
    const packet = packetOf(test.bundle);
    assert.equal(await sendFrom(test.client, [packet]), "");
    await test.until(({ windowCount }) => windowCount === 1);
    writeFileSync(clock, "-40000");
    // What is open would stay open for longer than it may.
    await test.server.until(/the clock was set back: all windows are closed/);
    await test.until(({ windowCount }) => windowCount === 0);
    await assertRefused(test, "replayed", [packet]);
    assert.equal(await dialFrom(test.client), "silence");
    assert.equal(await sendFrom(test.client, [packetOf(test.bundle)]), "");
    await test.until(({ windowCount }) => windowCount === 1);
    await sendFrom(test.client, [packetOf(test.bundle, { action: "close" })]);
    await test.until(({ windowCount }) => windowCount === 0);
    writeFileSync(clock, "90000");
    await new Promise((resolve) => setTimeout(resolve, 200));
    await assertRefused(test, "stale", [packet]);
    assert.equal(await dialFrom(test.client), "silence");
  });

  it("attack 15: a packet that was captured at one gate opens nothing at another, not even at one with the same key and devices", async () => {
    await using first = await hiddenServer();
    const captured = (): Buffer => packetOf(first.bundle);
    {
      await using stranger = await hiddenServer();
      await assertRefused(stranger, "unknown-device", [captured()]);
      assert.equal(await dialFrom(stranger.client), "silence");
    }
    // A second gate of the same installation: it has all that the first has, but its own name.
    const otherId = "0123456789abcdef";
    await using second = await hiddenServer({
      prepare: (data) => {
        const own = new Set(["run", "state", "audit"]);
        cpSync(first.data, data, { recursive: true, filter: (path) => !own.has(basename(path)) });
        const identity = JSON.parse(readFileSync(join(first.data, "gate", "identity.json"), "utf8"));
        writeFileSync(join(data, "gate", "identity.json"), JSON.stringify({ ...identity, gateId: otherId }), {
          mode: 0o600,
        });
        chmodSync(data, 0o700);
      },
    });
    await assertRefused(second, "wrong-key", [captured()]);
    assert.equal(await dialFrom(second.client), "silence");
    assert.equal(await sendFrom(first.client, [captured()]), "");
    await first.until(({ windowCount }) => windowCount === 1);
    assert.equal(await sendFrom(second.client, [packetOf(first.bundle, {}, { gateId: otherId })]), "");
    await second.until(({ windowCount }) => windowCount === 1);
    assert.equal(await dialFrom(second.client), "open");
  });

  it("attack 14 and 16 to 18: altered, old, stolen and greedy packets open nothing; an honest one opens", async () => {
    await using test = await hiddenServer({
      gate: ["windowSecondsMax: 30", "devices: [{ name: first-device, clockless: true }]"],
    });
    const { bundle } = test;
    const altered = Array.from({ length: 76 }, (_, index) => {
      const packet = packetOf(bundle);
      const at = index + 8;
      packet[at] = (packet[at] ?? 0) ^ (1 << (index & 7));
      return packet;
    });
    // Not more at once than the gate looks at of one source that is locked out meanwhile.
    for (let index = 0; index < altered.length; index += 4) {
      await assertRefused(test, "wrong-key", altered.slice(index, index + 4));
    }
    // The first eight bytes say, to the gate alone, who it is.
    const disguised = Array.from({ length: 8 }, (_, at) => {
      const packet = packetOf(bundle);
      packet[at] = (packet[at] ?? 0) ^ (1 << at);
      return packet;
    });
    for (let index = 0; index < disguised.length; index += 4) {
      await assertRefused(test, "unknown-device", disguised.slice(index, index + 4));
    }
    // The second is on its way while a process starts: its clock must still be ahead by a minute when it arrives.
    const aged = [-61_000, 91_000].map((ms) => packetOf(bundle, { timestampMs: Date.now() + ms }));
    await assertRefused(test, "stale", aged);
    await assertRefused(test, "source-mismatch", [packetOf(bundle)], test.stranger);
    await assertRefused(test, "source-mismatch", [packetOf(bundle, { address: ip(strangerAddress) })]);
    await assertRefused(test, "source-required", [packetOf(bundle, { address: undefined })]);
    await assertRefused(test, "service-not-granted", [packetOf(bundle, { serviceId: 2 })]);
    assert.equal(await dialFrom(test.client), "silence");
    // A device without a clock counts: what it counted before is over.
    const counted = (counter: number): Buffer =>
      packetOf(bundle, { clockless: true, timestampMs: 0, counter }, { epoch: clocklessEpoch });
    const last = Date.now() + 1_000_000;
    assert.equal(await sendFrom(test.client, [counted(last)]), "");
    await test.until(({ windowCount }) => windowCount === 1);
    assert.equal(await sendFrom(test.client, [packetOf(bundle, { action: "close", counter: last + 1 })]), "");
    await test.until(({ windowCount }) => windowCount === 0);
    await assertRefused(test, "replayed", [counted(last)]);
    await assertRefused(test, "too-old", [counted(1), counted(last - 64)]);
    const greedy = packetOf(bundle, { windowSeconds: 65_535, counter: last + 2 });
    assert.equal(await sendFrom(test.client, [greedy]), "");
    const { windows } = await test.until(({ windowCount }) => windowCount === 1);
    const [window] = windows;
    assert.equal(window?.address, clientAddress);
    assert.ok(window.untilMs - Date.now() <= 30_000);
    assert.equal(await dialFrom(test.client), "open");
  });
});
