import { CaptureReader } from "@postern/zigbee/capture/capture-reader";
import { type CapturedFrame } from "@postern/zigbee/capture/captured-frame";
import { type Dissection } from "@postern/zigbee/dissection";
import { Dissector } from "@postern/zigbee/dissector";
import { Harvester } from "@postern/zigbee/harvest";
import { KeyHunt } from "@postern/zigbee/key-hunt";
import { Keyring } from "@postern/zigbee/keyring";
import { decodeZclAttributes, decodeZclFrame, zclCommandName } from "@postern/zigbee/zcl/zcl-frame";

import { auditZigbee } from "../zigbee/audit.ts";
import { auditHtml } from "../zigbee/report-html.ts";
import { auditText } from "../zigbee/report-text.ts";
import { Watch } from "../zigbee/watch.ts";
import { FixedRandom, mutantFile, mutantKeys, Mutants } from "./mutants.ts";

const framesPerFile = 40;

function givenKeys(): Keyring {
  const keyring = new Keyring();
  keyring.add(mutantKeys.network, "network", { kind: "given" });
  keyring.add(mutantKeys.link, "link", { kind: "given" });
  keyring.add(mutantKeys.network, "mac", { kind: "given" });
  return keyring;
}

/** What fuzzing came to. */
export interface FuzzResult {
  /** Frames that could be read out of the files. */
  readonly frames: number;
  /** Frames whose protection was opened: what they said was decoded. */
  readonly opened: number;
  readonly files: number;
  /** Findings in all files together. */
  readonly findings: number;
  /** Files that had something wrong outside their frames. */
  readonly problems: number;
  readonly slowestFileMs: number;
}

/**
 * Audits files of mutated frames until so many frames were written, each file for itself, and reads all of them with one dissector, one
 * watch and one key hunt that live on.
 */
export async function fuzzAudit(frameCount: number, seed: number): Promise<FuzzResult> {
  const random = new FixedRandom(seed);
  const mutants = new Mutants(random);
  const lasting = new Dissector(givenKeys());
  const harvester = new Harvester(givenKeys());
  const hunt = new KeyHunt();
  const watch = new Watch({
    keyring: givenKeys(),
    showKeys: false,
    windowUs: 60_000_000,
    framesMax: 500,
    againUs: 3_600_000_000,
  });
  const result = { frames: 0, opened: 0, files: 0, findings: 0, problems: 0, slowestFileMs: 0 };
  for (; result.files * framesPerFile < frameCount; result.files++) {
    mutants.level = random.pick([5, 5, 5, 1, 2, 3, 4, 6, 7], 5);
    const file = mutantFile(
      Array.from({ length: framesPerFile }, () => mutants.frame()),
      random,
    );
    const began = performance.now();
    const frames = framesIn(file);
    if (frames.problem) result.problems++;
    result.frames += frames.all.length;
    for (const frame of frames.all) {
      const dissection = lasting.dissect(frame);
      readApplication(dissection);
      harvester.take(dissection);
      hunt.see(dissection, (pan, short) => lasting.address(pan, short));
      watch.add(frame);
    }
    const report = await auditZigbee({
      keyring: givenKeys(),
      showKeys: result.files % 2 === 0,
      read: (onFrame) => {
        frames.all.forEach(onFrame);
        return Promise.resolve();
      },
    });
    result.opened += report.openedFrames;
    result.findings += report.findings.length;
    auditText(report, "mutants");
    if (result.files % 50 === 0) {
      auditHtml(report, { file: "mutants", problem: undefined });
      await watch.look();
    }
    result.slowestFileMs = Math.max(result.slowestFileMs, performance.now() - began);
  }
  return result;
}

/** Read in two chunks, cut anywhere. */
function framesIn(file: Uint8Array): { readonly all: CapturedFrame[]; readonly problem: boolean } {
  const all: CapturedFrame[] = [];
  const reader = new CaptureReader({
    onFrame: (frame) => void all.push({ ...frame, bytes: frame.bytes.slice() }),
    onKey: () => undefined,
  });
  const half = file.length >> 1;
  reader.push(file.subarray(0, half));
  reader.push(file.subarray(half));
  reader.end();
  return { all, problem: reader.problem !== undefined };
}

function readApplication({ aps, apsPayload, apsPayloadStart, apsPayloadEnd }: Dissection): void {
  if (aps === undefined || apsPayload === undefined) return;
  const zcl = decodeZclFrame(apsPayload, apsPayloadStart, apsPayloadEnd);
  zclCommandName(aps.cluster, zcl);
  decodeZclAttributes(zcl.command, zcl.payload);
}
