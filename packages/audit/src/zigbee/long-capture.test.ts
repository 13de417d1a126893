import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { type CapturedFrame } from "@postern/zigbee/capture/captured-frame";
import { eui64At } from "@postern/zigbee/eui64";
import { Keyring } from "@postern/zigbee/keyring";
import * as build from "@postern/zigbee/testing";

import { auditZigbee, type AuditReport } from "./audit.ts";

const networkKey = build.unhex("5f1e2d3c4b5a69788796a5b4c3d2e1f0");
const centreKey = build.unhex("9a8b7c6d5e4f30211203948576675849");
const device = eui64At(Uint8Array.of(2, 0, 0, 0, 0, 0x8d, 0x15, 0), 0);
const centre = eui64At(Uint8Array.of(1, 0, 0, 0, 0, 0x4b, 0x12, 0), 0);

function data(counter: number, pan = 0x1a62): Uint8Array {
  const protection = { key: networkKey, source: device, counter };
  const nwk = build.nwkFrame({ destination: 0, source: 0x970b, protection }, build.apsData());
  return build.macData({ pan, destination: 0, source: 0x970b, macSequence: counter }, nwk);
}

/** More frames than a beginning has. */
const ordinary = Array.from({ length: 6_000 }, (_, index) => data(index + 1));
const command = build.apsCommand(build.transportKey(1, networkKey, device, centre));
const clearKey = build.macData(
  { pan: 0x1a62, destination: 0x970b, source: 0, macSequence: 1 },
  build.nwkFrame({ destination: 0x970b, source: 0 }, command),
);

async function audit(
  frames: readonly Uint8Array[],
  key: Uint8Array | undefined,
): Promise<{ readonly report: AuditReport; readonly readings: number }> {
  const keyring = new Keyring();
  if (key !== undefined) keyring.add(key, "network", { kind: "given" });
  let readings = 0;
  const read = (onFrame: (frame: CapturedFrame) => void, until: AbortSignal): Promise<void> => {
    readings++;
    for (const frame of build.captured(frames)) {
      if (until.aborted) break;
      onFrame(frame);
    }
    return Promise.resolve();
  };
  return { report: await auditZigbee({ keyring, showKeys: false, read }), readings };
}

function found({ findings }: AuditReport): string[] {
  return findings.map(({ id, frames }) => `${id}: ${frames.join(" ")}`);
}

describe("auditZigbee with a long capture", () => {
  it("looks at the beginning and reads it once when every key is known", async () => {
    const replayed = [...ordinary, data(5_990).fill(77, 2, 3)];
    const { report, readings } = await audit(replayed, networkKey);
    assert.deepEqual(found(report), ["ZB-REPLAY: 6001"]);
    assert.deepEqual([report.frames, report.openedFrames, readings], [6_001, 6_001, 2]);
  });

  it("opens what came before a key that stands at its end, and masks it", async () => {
    const { report } = await audit([...ordinary, clearKey], undefined);
    assert.deepEqual(found(report), ["ZB-KEY-CLEAR: 6001"]);
    assert.deepEqual([report.frames, report.openedFrames], [6_001, 6_000]);
    assert.ok(!JSON.stringify(report).includes(build.hex(networkKey)));
  });

  it("needs no further reading for a key that opens nothing new", async () => {
    const { report, readings } = await audit([...ordinary, clearKey], networkKey);
    assert.deepEqual([found(report), readings], [["ZB-KEY-CLEAR: 6001"], 2]);
  });

  it("finds what is wrong in a network that is not there in the beginning", async () => {
    const late = [900, 901, 902, 903, 10].map((counter) => data(counter, 0x2b73));
    const { report } = await audit([...ordinary, ...late], networkKey);
    assert.deepEqual(
      report.networks.map(({ pan }) => pan),
      [0x1a62, 0x2b73],
    );
    assert.deepEqual(found(report), ["ZB-COUNTER-REGRESSION: 6005"]);
  });

  it("looks for keys in what its last frame opens", async () => {
    const under = build.apsCommand(build.transportKey(1, networkKey, device, centre), {
      key: centreKey,
      source: centre,
      counter: 9,
      identifier: 2,
    });
    const hidden = build.macData(
      { pan: 0x1a62, destination: 0x970b, source: 0, macSequence: 2 },
      build.nwkFrame({ destination: 0x970b, source: 0 }, under),
    );
    const link = build.macData(
      { pan: 0x1a62, destination: 0x970b, source: 0, macSequence: 3 },
      build.nwkFrame(
        { destination: 0x970b, source: 0 },
        build.apsCommand(build.transportKey(4, centreKey, device, centre)),
      ),
    );
    const { report } = await audit([hidden, ...ordinary, link], undefined);
    assert.equal(report.openedFrames, 6_001);
  });
});
