/** What it costs the gate's process to refuse a junk packet, from as many sources as there are packets and from few. */
import { randomBytes } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { systemClock } from "@postern/core/clock";
import { linkDevice, temporaryDirectory, testGate, until } from "@postern/gate/testing/test-gate";
import { BrokerLink } from "@postern/gate/link/broker-link";
import { silentLog } from "@postern/core/log";

import { figure, timed } from "../support/report.ts";

const packets = 50_000;
const sources = 1_000_000;
using directory = temporaryDirectory();
await using test = await testGate({ directory: directory.path, clock: systemClock });
const devices = Array.from({ length: 10_000 }, (_, index) => linkDevice(`device-${index}`));
using broker = new BrokerLink({
  path: test.socket,
  source: { devices: () => devices, connections: () => [] },
  nowMs: () => Date.now(),
  log: silentLog,
});
await until(
  () => broker.connected && test.spa1.table.size === devices.length && !test.spa1.table.step(0),
  120_000,
);
const junk = randomBytes(84 * packets);
const packet = (index: number): Buffer => junk.subarray(84 * index, 84 * (index + 1));

setFlagsFromString("--expose-gc");

/** What lives, after a collection. */
function heapBytes(): number {
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}

const before = heapBytes();
await timed("junk packet from one source", packets, () => {
  for (let index = 0; index < packets; index++) test.knock(packet(index), "10.0.0.1");
});
await timed("junk packet, each from another source", packets, () => {
  for (let index = 0; index < packets; index++) {
    test.knock(
      packet(index),
      `${11 + (index >> 24)}.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`,
    );
  }
});
await timed(`junk packets of ${sources.toLocaleString("en")} sources`, sources, () => {
  for (let index = 0; index < sources; index++) {
    test.knock(
      packet(index % packets),
      `${20 + (index >> 24)}.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`,
    );
  }
});
figure(
  "  memory of the gate's process more than before",
  `${((heapBytes() - before) / 2 ** 20).toFixed(1)} MiB`,
);
