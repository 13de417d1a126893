/**
 * Audits a capture again and again and prints what each audit took, as JSON, when the engine has compiled it.
 * `node warm-audit-program.ts PCAP KEYS FRAMES ROUNDS`
 */
import { readFileSync } from "node:fs";

import { auditZigbee } from "@postern/audit/zigbee/audit";
import { CaptureReader } from "@postern/zigbee/capture/capture-reader";
import { Keyring } from "@postern/zigbee/keyring";

import { type Run } from "./program-run.ts";

const warmRounds = 10;
const chunkBytes = 1_048_576;
const [pcap = "", keyFile = "", count = "", rounds = ""] = process.argv.slice(2);
const file = readFileSync(pcap);
const frames = Number(count);

async function audit(): Promise<Run> {
  const keyring = new Keyring();
  for (const line of readFileSync(keyFile, "utf8").split("\n")) {
    if (line === "") continue;
    keyring.add(Buffer.from(line, "hex"), "network", { kind: "given" });
    keyring.add(Buffer.from(line, "hex"), "link", { kind: "given" });
  }
  const processor = process.cpuUsage();
  const began = performance.now();
  const report = await auditZigbee({
    keyring,
    showKeys: false,
    read: (onFrame, until) => {
      const reader = new CaptureReader({ onFrame });
      for (let offset = 0; offset < file.length && !until.aborted; offset += chunkBytes) {
        reader.push(file.subarray(offset, offset + chunkBytes));
      }
      return Promise.resolve();
    },
  });
  if (report.frames !== frames || report.openedFrames !== report.securedFrames) {
    throw new Error(`${report.openedFrames} of ${report.securedFrames} protected frames were opened`);
  }
  const { user, system } = process.cpuUsage(processor);
  return {
    wallSeconds: (performance.now() - began) / 1_000,
    processorSeconds: (user + system) / 1e6,
    peakMegabytes: 0,
  };
}

const runs: Run[] = [];
for (let round = -warmRounds; round < Number(rounds); round++) {
  const run = await audit();
  if (round >= 0) runs.push(run);
}
console.log(JSON.stringify(runs));
