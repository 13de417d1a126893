/**
 * From a knock to an open port, stage by stage, with 10,000 enrolled devices, idle and under junk packets of invented sources. Needs root.
 * `npm run bench -- gate-knock [--devices 10000] [--knocks 200] [--rates 0,2000,20000,50000] [--rounds 1]`
 *
 * The flood is of this machine, where it would be of others: it comes after what is measured. The programs under measurement (knocker, gate,
 * server, and the echo that is the measure of the machine) and the flood are in the real-time class, so that the figures are not those of what else runs here.
 */
import { parseArgs } from "node:util";

import { figure } from "../support/report.ts";
import { isRealTime, measureGate, printKnocks } from "./knocks.ts";

const { values } = parseArgs({
  options: {
    devices: { type: "string", default: "10000" },
    knocks: { type: "string", default: "200" },
    rates: { type: "string", default: "0,2000,20000,50000" },
    rounds: { type: "string", default: "1" },
  },
});
const devices = Number(values.devices);
const knocks = Number(values.knocks);
const rates = values.rates.split(",").map(Number);

figure("enrolled devices", String(devices));
figure("the real-time class", isRealTime ? "is used" : "may not be used here: what else runs counts");
for (let round = 1; round <= Number(values.rounds); round++) {
  for (const rate of rates) printKnocks(rate, await measureGate(devices, { knocks, rate }));
}
