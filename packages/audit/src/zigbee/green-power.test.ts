import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { joined } from "@postern/zigbee/security/mmo-hash";
import * as build from "@postern/zigbee/testing";

import { audited, own } from "../testing/network.ts";

const { unhex } = build;
const key = "7f1e2d3c4b5a69788796a5b4c3d2e1f7";

/** A device that wants to be taken in, with its key. */
function commissioning(extended: string, ...rest: readonly string[]): Uint8Array {
  return joined(unhex("010801 ffff ffff 0c 78563412 e0 02 81"), unhex([extended, key, ...rest].join("")));
}

describe("Green Power commissioning", () => {
  it("is found where the device says its key to whoever listens, and the key is not shown", async () => {
    const report = await audited(build.captured([own(), commissioning("33")]));
    assert.deepEqual(
      report.findings.map(({ id, subject, frames }) => [id, subject, frames]),
      [["ZB-KEY-CLEAR", "Green Power device 0x12345678", [2]]],
    );
    assert.ok(!JSON.stringify(report).includes(key));
    assert.deepEqual(
      report.keys.filter(({ use }) => use === "green-power").map(({ origin }) => origin),
      ["frame 2, in clear"],
    );
  });

  it("is no finding where the key is encrypted, nor are frames of devices with an address of their own", async () => {
    const switched = unhex("41c801 ffff ffff 0807060504030201 8c 12 01 01000000 20 aabbccdd");
    const frames = [own(), commissioning("73", "aabbccdd"), switched];
    const report = await audited(build.captured(frames));
    assert.deepEqual([report.findings, report.malformedFrames], [[], 0]);
    assert.deepEqual(report.notes, []);
  });
});
