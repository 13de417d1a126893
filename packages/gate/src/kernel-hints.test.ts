import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { silentLog } from "@postern/core/log";
import { HintTable } from "@postern/knock/spa1/hint-table";
import { clocklessEpoch, deriveKnockSecret, hintEpoch, hintOf, knockKeys } from "@postern/knock/spa1/keys";

import { KernelHints } from "./kernel-hints.ts";
import type { KnownHint } from "./nftables/nftables-firewall.ts";
import { HandClock, master, until } from "./testing/test-gate.ts";

function device(name: string, clockless = false) {
  return {
    name,
    clockless,
    keys: knockKeys(deriveKnockSecret(master, { tenant: "default", device: name, keyVersion: 1 })),
  };
}

function hex(hint: Uint8Array): string {
  return Buffer.from(hint).toString("hex");
}

describe("the kernel's hints", () => {
  it("are those of each device for the hours it may knock in, each until an hour after its own", async () => {
    const clock = new HandClock();
    const table = new HintTable(clock.nowMs);
    const told: KnownHint[] = [];
    const hints = new KernelHints({
      table,
      clock,
      log: silentLog,
      firewall: { addHints: async (some) => void told.push(...some) },
    });
    const sensor = device("sensor");
    const clockless = device("meter", true);
    table.set(sensor);
    table.set(clockless);
    while (table.step(1)) {}
    const epoch = hintEpoch(clock.nowMs);
    const expected = [
      ...[sensor, clockless].flatMap(({ keys }) =>
        [epoch - 1, epoch, epoch + 1].map((each) => hex(hintOf(keys, each))),
      ),
      hex(hintOf(clockless.keys, clocklessEpoch)),
    ];
    await until(() => told.length >= expected.length);
    assert.deepEqual(told.map(({ hint }) => hex(hint)).sort(), expected.toSorted());
    const ofThisHour = told.find(({ hint }) => hex(hint) === hex(hintOf(sensor.keys, epoch)));
    assert.equal(ofThisHour?.seconds, (epoch + 2) * 3_600 - clock.nowMs / 1_000);

    told.length = 0;
    hints.tellAll();
    await until(() => told.length >= expected.length);
    assert.deepEqual(told.map(({ hint }) => hex(hint)).sort(), expected.toSorted());

    // The next hour brings one more for each, and again that of a device without a clock.
    told.length = 0;
    clock.nowMs += 3_600_000;
    table.advance(clock.nowMs);
    while (table.step(1)) {}
    await until(() => told.length >= 3);
    assert.deepEqual(
      told.map(({ hint }) => hex(hint)).sort(),
      [
        hintOf(sensor.keys, epoch + 2),
        hintOf(clockless.keys, epoch + 2),
        hintOf(clockless.keys, clocklessEpoch),
      ]
        .map(hex)
        .sort(),
    );
  });

  it("that the kernel does not take are warned of, and later ones are told all the same", async () => {
    const clock = new HandClock();
    const table = new HintTable(clock.nowMs);
    const warnings: string[] = [];
    let told = 0;
    const hints = new KernelHints({
      table,
      clock,
      log: { ...silentLog, warn: (_, message) => warnings.push(message) },
      firewall: {
        async addHints(some) {
          if (warnings.length === 0) throw new Error("no");
          told += some.length;
        },
      },
    });
    table.set(device("sensor"));
    while (table.step(10)) {}
    await until(() => warnings.length === 1);
    hints.tellAll();
    await until(() => told === 3);
  });
});
