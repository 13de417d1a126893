import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";

import { auditZigbee } from "@postern/audit/zigbee/audit";
import { eui64At } from "@postern/zigbee/eui64";
import { Keyring } from "@postern/zigbee/keyring";
import { knownKeys } from "@postern/zigbee/known-keys";
import { OTRCPDriver } from "zigbee-on-host/dist/drivers/ot-rcp-driver.js";
import { setLogger } from "zigbee-on-host/dist/utils/logger.js";

import { recordingFrames } from "./recording.ts";
import { scenarios } from "./scenarios.ts";
import { type Scenario } from "./scenario.ts";
import { Simulation } from "./simulation.ts";
import { RadioCoProcessor } from "./testing/radio-co-processor.ts";

const quiet = (): void => undefined;
setLogger({ debug: quiet, info: quiet, warning: quiet, error: (text) => console.error(text) });

const pan = 0x1a62;
const coordinator = 0x00124b0000000001n;
const extendedPan = 0x0253494d00500001n;

function littleEndian(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

/** Devices of the simulator without its coordinator. */
function devicesOnly(): Scenario {
  const { star } = scenarios;
  assert.ok(star !== undefined);
  return {
    ...star,
    nodes: star.nodes.filter(({ kind }) => kind !== "coordinator").slice(0, 3),
    extendedPan: eui64At(littleEndian(extendedPan), 0),
    lossShare: 0,
    security: { ...star.security, linkKeys: "well-known" },
  };
}

/** What the other stack, and our devices, said of a join. */
interface Heard {
  readonly joined: bigint[];
  readonly authorized: bigint[];
  readonly clusters: number[];
}

async function runWithOtherStack(
  seconds: number,
): Promise<{ simulation: Simulation; heard: Heard; driver: OTRCPDriver }> {
  const simulation = new Simulation(devicesOnly(), 5);
  const radio = new RadioCoProcessor(
    simulation,
    { x: 0, y: 0 },
    { pan, extended: eui64At(littleEndian(coordinator), 0) },
  );
  const folder = mkdtempSync(join(tmpdir(), "postern-other-stack-"));
  const heard: Heard = { joined: [], authorized: [], clusters: [] };
  const driver = new OTRCPDriver(
    radio,
    {
      onFatalError: (message) => assert.fail(message),
      onMACFrame: () => undefined,
      onFrame: (_short, _address, header) => void heard.clusters.push(header.clusterId ?? -1),
      onGPFrame: () => undefined,
      onDeviceJoined: (_short, address) => void heard.joined.push(address),
      onDeviceRejoined: () => undefined,
      onDeviceLeft: () => undefined,
      onDeviceAuthorized: (_short, address) => void heard.authorized.push(address),
    },
    {
      txChannel: 15,
      ccaBackoffAttempts: 1,
      ccaRetries: 4,
      enableCSMACA: true,
      headerUpdated: true,
      reTx: false,
      securityProcessed: true,
      txDelay: 0,
      txDelayBaseTime: 0,
      rxChannelAfterTxDone: 15,
    },
    {
      eui64: coordinator,
      panId: pan,
      extendedPanId: extendedPan,
      channel: 15,
      nwkUpdateId: 0,
      txPower: 5,
      networkKey: Buffer.from("5f1e2d3c4b5a69788796a5b4c3d2e1f0", "hex"),
      networkKeyFrameCounter: 0,
      networkKeySequenceNumber: 0,
      tcKey: Buffer.from("ZigBeeAlliance09"),
      tcKeyFrameCounter: 0,
    },
    folder,
  );
  // The other stack writes files while it works on a frame, which takes as long as the disk does.
  const other = { working: 0 };
  const work = driver.onStreamRawFrame.bind(driver);
  driver.onStreamRawFrame = async (payload, metadata) => {
    other.working++;
    try {
      await work(payload, metadata);
    } finally {
      other.working--;
    }
  };
  try {
    let isFormed = false;
    const form = async (): Promise<void> => {
      await driver.start();
      await driver.formNetwork();
      driver.context.allowJoins(254, true);
      isFormed = true;
    };
    const formed = form();
    // Simulated time stands still while the other stack thinks.
    for (let nowUs = 0; nowUs < seconds * 1_000_000; nowUs += isFormed ? 1_000 : 10) {
      simulation.run(nowUs / 1_000_000);
      do {
        for (let turn = 0; turn < 4; turn++) await setImmediate();
      } while (other.working > 0 && !radio.isSending);
    }
    await formed;
    return { simulation, heard, driver };
  } finally {
    await driver.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

describe("simulated devices at the coordinator of zigbee-on-host, a stack that is not ours", () => {
  it("join, get the network key and a link key that is confirmed, announce themselves and report", async () => {
    const { simulation, heard } = await runWithOtherStack(16);
    const addresses = simulation.devices.map(({ address }) => BigInt(`0x${address.replaceAll(":", "")}`));
    for (const { plan, isMember } of simulation.devices) assert.ok(isMember, `${plan.name} has not joined`);
    assert.deepEqual([heard.joined, heard.authorized], [addresses, addresses]);
    const deviceAnnounce = 0x0013;
    assert.equal(heard.clusters.filter((cluster) => cluster === deviceAnnounce).length, 3);
    const temperature = 0x0402;
    assert.ok(heard.clusters.includes(temperature), "the other stack has taken no report");
    await audited(simulation);
  });
});

/** The auditor on what both stacks sent: it opens everything, and says that the other one hands out the key that everybody knows. */
async function audited(simulation: Simulation): Promise<void> {
  const keyring = new Keyring();
  for (const { hex, uses, name } of knownKeys) {
    for (const use of uses) keyring.add(Buffer.from(hex, "hex"), use, { kind: "well-known", name });
  }
  const report = await auditZigbee({
    keyring,
    showKeys: false,
    read: (onFrame) => {
      recordingFrames(simulation.frames).forEach(onFrame);
      return Promise.resolve();
    },
  });
  assert.ok(report.securedFrames > 20);
  assert.equal(report.openedFrames, report.securedFrames);
  assert.deepEqual(
    report.findings.map(({ id }) => id),
    ["ZB-KEY-KNOWN-LINK", "ZB-TCLK-WELL-KNOWN"],
  );
}
