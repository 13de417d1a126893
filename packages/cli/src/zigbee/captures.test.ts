import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { run } from "../main.ts";
import { fakeContext } from "../testing.ts";

/** Real captures, which are not part of the repository: beside it, or where POSTERN_CAPTURES says. */
const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..", "..");
const folder = process.env["POSTERN_CAPTURES"] ?? join(repository, "..", "shared", "captures");
const present = existsSync(folder) ? readdirSync(folder) : [];

interface Report {
  readonly frames: number;
  readonly securedFrames: number;
  readonly openedFrames: number;
  readonly networks: readonly unknown[];
  readonly notes: readonly string[];
  readonly findings: readonly {
    readonly id: string;
    readonly frames: readonly number[];
    readonly summary: string;
    readonly evidence: readonly { readonly bytes: string }[];
  }[];
}

async function audit(
  file: string,
  ...options: readonly string[]
): Promise<{ report: Report; text: string; code: number }> {
  const context = fakeContext();
  const code = await run(["zigbee", "audit", join(folder, file), "--format", "json", ...options], context);
  const text = context.out();
  return { report: JSON.parse(text), text, code };
}

function found({ findings }: Report): string[] {
  return findings.map(({ id, frames }) => `${id}: ${frames.join(" ")}`);
}

const flood = Array.from({ length: 20 }, (_, index) => 22 + index).join(" ");

interface Truth {
  readonly file: string;
  readonly options?: readonly string[];
  readonly frames: number;
  readonly opened: readonly [opened: number, secured: number];
  readonly findings: readonly string[];
}

/** Everything that is true of them, and nothing else may be reported. */
const truths: readonly Truth[] = [
  {
    file: "kb_control4-sample.pcap",
    frames: 407,
    opened: [194, 194],
    findings: ["ZB-KEY-CLEAR: 151", "ZB-COUNTER-RESTART: 153", "ZB-NWK-KEY-WEAK: 1"],
  },
  {
    file: "whad_zigbee_philips_hue_association.pcap",
    frames: 348,
    opened: [192, 192],
    findings: ["ZB-KEY-KNOWN-LINK: 9", "ZB-PERMIT-JOIN: 100 103 109 113 116 120"],
  },
  {
    file: "own_zoh_join_and_attacks_dlt195.pcap",
    frames: 42,
    opened: [11, 11],
    findings: [
      `ZB-ASSOCIATION-FLOOD: ${flood}`,
      "ZB-COUNTER-MAX: 19",
      "ZB-KEY-KNOWN-LINK: 9 15",
      "ZB-REPLAY: 17",
      "ZB-TCLK-WELL-KNOWN: 15",
      "ZB-UNSECURED-DATA: 18",
      "ZB-COUNTER-REGRESSION: 20 21",
      "ZB-DISASSOCIATION: 42",
    ],
  },
  { file: "kb_zigbee-network-key-ota.dcf", frames: 4, opened: [0, 0], findings: ["ZB-KEY-CLEAR: 3"] },
  { file: "kb_802154_encr_sample.dcf", frames: 2, opened: [0, 0], findings: [] },
  { file: "kb_test_dt_read.dcf", frames: 12, opened: [0, 12], findings: [] },
  { file: "whad_rf4ce_pairing_keystrokes_audio.pcap", frames: 544, opened: [0, 0], findings: [] },
];

describe("postern zigbee audit on real captures", () => {
  for (const truth of truths) {
    const skip = present.includes(truth.file) ? false : "real captures are not here (POSTERN_CAPTURES)";
    it(`reports what is true of ${truth.file} and nothing else`, { skip }, async () => {
      const { report } = await audit(truth.file, ...(truth.options ?? []));
      assert.deepEqual(found(report), truth.findings);
      assert.equal(report.frames, truth.frames);
      assert.deepEqual([report.openedFrames, report.securedFrames], truth.opened);
    });
  }

  const skipControl4 = present.includes("kb_control4-sample.pcap")
    ? false
    : "real captures are not here (POSTERN_CAPTURES)";

  it(
    "masks the printable key of the Control4 network unless asked for it",
    { skip: skipControl4 },
    async () => {
      const masked = await audit("kb_control4-sample.pcap");
      const shown = await audit("kb_control4-sample.pcap", "--show-keys");
      const mask = masked.report.findings[0]?.evidence[0]?.bytes.indexOf("*") ?? -1;
      const key = shown.report.findings[0]?.evidence[0]?.bytes.slice(mask, mask + 32) ?? "";
      assert.match(key, /^([2-7][0-9a-f]){16}$/);
      assert.ok(!masked.text.includes(key) && shown.text.includes(`"key": "${key}"`));
      assert.match(masked.report.findings[1]?.summary ?? "", /fell from 29463 to 0/);
      assert.equal(masked.code, 1);
    },
  );

  const skipMac = present.includes("kb_802154_encr_sample.dcf")
    ? false
    : "real captures are not here (POSTERN_CAPTURES)";

  it("opens the frame that the MAC protects, given the key", { skip: skipMac }, async () => {
    const { report } = await audit("kb_802154_encr_sample.dcf", "--key", "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf");
    assert.ok(report.notes.some((note) => /1 could be opened/.test(note)));
  });
});
