import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type CapturedFrame } from "@postern/zigbee/capture/captured-frame";
import * as build from "@postern/zigbee/testing";

import { addressOf, audited, data, found, pan } from "../testing/network.ts";

/** Frames of the device, one after the other. */
function frames(count: number, stepUs = 100_000): CapturedFrame[] {
  return build.captured(
    Array.from({ length: count }, () => data()),
    stepUs,
  );
}

function numbered(captured: readonly CapturedFrame[]): CapturedFrame[] {
  return captured.map((frame, index) => ({ ...frame, number: index + 1 }));
}

function later(captured: readonly CapturedFrame[], us: number): CapturedFrame[] {
  return captured.map((frame) => ({ ...frame, timeUs: frame.timeUs + us }));
}

/** An application message without protection. */
function plain(payload: Uint8Array): Uint8Array {
  return build.macData(
    { pan, destination: 0, source: 0x970b, macSequence: 1 },
    build.nwkFrame({ destination: 0, source: 0x970b }, payload),
  );
}

/** Frames of four routers in turn. */
function crowd(count: number): CapturedFrame[] {
  const sent = Array.from({ length: count }, (_, index) =>
    data({ from: addressOf(0x100 + (index % 4)), source: 1 + (index % 4) }),
  );
  return build.captured(sent, 100_000);
}

describe("the audit of a recording that is not as it could be", () => {
  for (const skewUs of [700, 1_500, 20_000, 1_500_000]) {
    it(`takes what two sniffers record ${skewUs} µs apart for no replay`, async () => {
      const one = frames(40);
      const both = [...one, ...later(one, skewUs)].toSorted((a, b) => a.timeUs - b.timeUs);
      const report = await audited(numbered(both));
      assert.deepEqual(report.findings, []);
      const isNoted = report.notes.some((note) =>
        note.startsWith("40 frames stand in the capture a second time"),
      );
      assert.equal(isNoted, skewUs !== 20_000);
    });
  }

  it("takes some frames that come again late for a replay, also soon after", async () => {
    const one = frames(40);
    const again = later(one.slice(3, 6), 1_500_000);
    const both = numbered([...one, ...again].toSorted((a, b) => a.timeUs - b.timeUs));
    assert.deepEqual(await found(both), ["ZB-REPLAY: 20 22 24"]);
    const whole = numbered([...one, ...later(one, 60_000_000)]);
    assert.deepEqual(
      (await audited(whole)).findings.map(({ id, frameCount }) => [id, frameCount]),
      [["ZB-REPLAY", 40]],
      "the whole recording, played back a minute later",
    );
  });

  it("reads no command out of a part of a message that is not its first", async () => {
    const part = Uint8Array.of(0x80, 1, 6, 0, 4, 1, 1, 9, 2, 1, 1, 5, 2);
    const { findings } = await audited(build.captured([data(), plain(build.apsData()), plain(part)]));
    const [finding] = findings;
    assert.deepEqual(
      finding?.evidence.map(({ frame, fields }) => [frame, fields["command"]]),
      [
        [2, "On/Off: toggle"],
        [3, undefined],
      ],
    );
  });

  it("takes parts in the wrong order for no restart of the counters", async () => {
    const whole = frames(40);
    assert.deepEqual(await found(numbered([...whole.slice(20), ...whole.slice(0, 20)])), []);
  });

  it("finds a channel that falls silent, also where damaged frames are not recorded", async () => {
    for (const frameCheck of ["good", "absent"] as const) {
      const silent = crowd(1_200).filter((_, index) => index < 500 || index >= 900);
      const recorded = silent.map((frame) => Object.assign(frame, { frameCheck }));
      const { findings } = await audited(recorded);
      assert.deepEqual(
        findings.map(({ id, confidence }) => `${id} ${confidence}`),
        ["ZB-JAMMING possible"],
      );
    }
  });

  it("takes neither a gap of some seconds, nor the end, nor a pause in recording for a jammed channel", async () => {
    const whole = crowd(1_200);
    assert.deepEqual(await found(whole.filter((_, index) => index < 500 || index >= 650)), []);
    assert.deepEqual(await found(whole.slice(0, 500)), []);
    assert.deepEqual(await found([...whole.slice(0, 500), ...later(whole.slice(500), 3_600_000_000)]), []);
  });

  it("takes the end of a long transfer between two devices for no jammed channel", async () => {
    const transfer = frames(1_200);
    const calm = later(frames(60, 5_000_000), 130_000_000);
    assert.deepEqual(await found(numbered([...transfer, ...calm])), []);
  });
});
