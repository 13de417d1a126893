import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { hostsRefused } from "@postern/gate/hosts/namespaces";

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

  it("attack 14 to 18: altered, foreign, old, stolen and greedy packets open nothing; an honest one opens", async () => {
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
    const foreign = packetOf(bundle, {}, { gateId: "0000000000000000" });
    await assertRefused(test, "wrong-key", [foreign]);
    const aged = [-61_000, 61_000].map((ms) => packetOf(bundle, { timestampMs: Date.now() + ms }));
    await assertRefused(test, "stale", aged);
    await assertRefused(test, "source-mismatch", [packetOf(bundle)], test.stranger);
    await assertRefused(test, "source-mismatch", [packetOf(bundle, { address: ip(strangerAddress) })]);
    await assertRefused(test, "source-required", [packetOf(bundle, { address: undefined })]);
    await assertRefused(test, "service-not-granted", [packetOf(bundle, { serviceId: 2 })]);
    assert.equal(await dialFrom(test.client), "silence");
    assert.equal(await sendFrom(test.client, [packetOf(bundle, { windowSeconds: 65_535 })]), "");
    const { windows } = await test.until(({ windowCount }) => windowCount === 1);
    const [window] = windows;
    assert.equal(window?.address, clientAddress);
    assert.ok(window.untilMs - Date.now() <= 30_000);
    assert.equal(await dialFrom(test.client), "open");
  });
});
